"""What is exported: a bundle, in the shapes that formats begin with, each made once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import CLASSIFIER_FILE, GRAPH_FILE
from transfer_cli.catalog import runtimes
from transfer_cli.export.merge_support import is_linear
from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel
from transfer_cli.io.untrusted.names import FACTS, LABELS
from transfer_cli.progress import SILENT, Progress


class ExportableModel:
    """What is exported.

    Parameters
    ----------
    source : str
        A run or a bundle.
    folder : Path
        Where to keep what several formats begin with.
    progress : Progress

    Attributes
    ----------
    opened : OpenedBundle
    bundle : ModelBundle
    directory : Path
    reference : AbstractModel
        The model on Keras, which every file is compared with.
    """

    def __init__(self, source: str, folder: Path, progress: Progress = SILENT) -> None:
        self._source = source
        self._progress = progress
        self._folder = folder
        self.opened = ModelBundle.open(Path(source))
        self.bundle, self.directory = self.opened.bundle, self.opened.directory

    @property
    def is_linear(self) -> bool:
        """Whether its classifier can be a layer."""
        return is_linear(self.opened)

    @cached_property
    def reference(self) -> AbstractModel:
        """The model on Keras, which every file is compared with."""
        return load(self._source, runtime=runtimes.KERAS, cache=None, progress=self._progress)

    @cached_property
    def network(self) -> Any:
        """All of it as one network."""
        if self.opened.members:
            from transfer_cli.export.merged_ensemble import whole_ensemble

            return whole_ensemble(self.opened)
        from transfer_cli.export.merged_network import whole_network

        return whole_network(self.bundle, self.directory)

    @cached_property
    def graph(self) -> Path:
        """All of it as a LiteRT graph, which other formats begin with."""
        from transfer_cli.inference.litert_conversion import convert

        path = self._folder / GRAPH_FILE
        convert(self.network, path)
        return path

    def to_dict(self, format: str) -> ExportedFacts:
        """Return what a file of it in some format says of itself."""
        names = dict.fromkeys(str(leaf.backbone.get("name", "")) for leaf in self.opened.leaves())
        return ExportedFacts.of_bundle(self.bundle, format, backbone=", ".join(names))

    def write_onnx(self, path: Path, facts: ExportedFacts) -> None:
        """Write it as ONNX, whatever its classifier is."""
        from transfer_cli.export.onnx import writer

        words = {FACTS: facts.json_text(), LABELS: facts.labels_text}
        if self.is_linear:
            writer.write_onnx(self.network, path, metadata=words)
            return

        from transfer_cli.classifiers import fit
        from transfer_cli.export.merged_network import features_network

        writer.write_onnx_with_classifier(
            features_network(self.bundle, self.directory),
            fit.load(self.directory / CLASSIFIER_FILE),
            path,
            classes=len(self.bundle.class_names),
            log_prior=self.bundle.log_prior,
            temperature=self.bundle.temperature,
            metadata=words,
        )
