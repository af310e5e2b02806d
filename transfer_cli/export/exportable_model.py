"""The model to export, in the forms that the writers start from; each form is computed once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import CLASSIFIER_FILE, GRAPH_FILE
from transfer_cli.catalog import runtimes
from transfer_cli.export.merge_support import classifiers_are_linear
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.inference.load import load
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.network_sources import load_network
from transfer_cli.io.drafts import room_for
from transfer_cli.io.untrusted.names import LABELS_FILE, METADATA_FILE
from transfer_cli.progress import SILENT, Progress


class ExportableModel:
    """The model to export.

    Parameters
    ----------
    source : str
        A run or a bundle.
    folder : Path
        Folder for intermediate files that several formats share.
    progress : Progress

    Attributes
    ----------
    opened : OpenedBundle
    bundle : ModelBundle
    """

    def __init__(self, source: str, folder: Path, progress: Progress = SILENT) -> None:
        self._source, self._folder, self.progress = source, folder, progress
        self.opened = ModelBundle.open(Path(source))
        self.bundle = self.opened.bundle

    @cached_property
    def reference(self) -> AbstractModel:
        """The model run by Keras, with whose predictions those of every file are compared."""
        return load(self._source, runtime=runtimes.KERAS, cache=None, progress=self.progress)

    @cached_property
    def network(self) -> Any:
        """The whole model as one Keras network."""
        from transfer_cli.export import merged_network

        if self.opened.members:
            return merged_network.merge_ensemble(self.opened)
        return merged_network.merge_model(self.opened)

    @cached_property
    def graph(self) -> Path:
        """The whole model as a LiteRT graph, from which other formats are converted."""
        from transfer_cli.inference.litert_conversion import convert

        path = self._folder / GRAPH_FILE
        with room_for(self._folder):
            convert(self.network, path)
        return path

    def metadata(self, format: str) -> ExportMetadata:
        """Return the metadata of a file of a format."""
        names = dict.fromkeys(str(leaf.backbone.get("name", "")) for leaf in self.opened.leaves())
        return ExportMetadata.of_bundle(self.bundle, format, backbone=", ".join(names))

    def write_onnx(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the model as ONNX, whatever its classifier is."""
        from transfer_cli.export.onnx.writer import write_onnx

        properties = {METADATA_FILE: metadata.json_text(), LABELS_FILE: metadata.labels_text}
        if classifiers_are_linear(self.opened):
            write_onnx(self.network, path, metadata=properties)
            return

        from transfer_cli.classifiers import fit

        write_onnx(
            load_network(self.opened),
            path,
            metadata=properties,
            pipeline=fit.load(self.opened.directory / CLASSIFIER_FILE),
            classes=len(self.bundle.class_names),
            log_prior=self.bundle.log_prior,
            temperature=self.bundle.temperature,
        )
