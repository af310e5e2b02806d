"""A network ready to run: on Keras, or as a converted graph whose output was compared with that of Keras."""

from __future__ import annotations

import shutil
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.catalog import runtimes
from transfer_cli.errors import MissingExtraError, ModelError, OutputError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.converted_graph import KERAS_FILE, ConvertedGraph
from transfer_cli.inference.formats.signature import Run
from transfer_cli.inference.runtime_parity import parity_fault
from transfer_cli.io.atomic import remove
from transfer_cli.io.cache import Cache, touch
from transfer_cli.io.disk_errors import reason_of
from transfer_cli.io.drafts import libraries_write_to, new_folder, remove_folder
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.recipe.sections import Inference

PARITY_IMAGES = 32
"""Number of images on which a graph is compared with Keras if a first batch is smaller or missing."""
MIN_IMAGES_TO_CACHE = 8
"""A graph that was compared on fewer images is used, but not cached."""


@dataclass(frozen=True)
class NetworkSource:
    """How to build a network.

    Attributes
    ----------
    facts : mapping
        Everything that determines its output, as JSON; the key of the cache.
    build : callable
        Returns the keras.Model, from uint8 (n, size, size, 3) to float32 (n, k). TensorFlow is imported before.
    classes : bool
        Whether its output is class probabilities.
    name : str
        Its name in messages.
    classifier : callable, optional
        Computes probabilities from its output; these are compared, too.
    """

    facts: Mapping[str, Any]
    build: Callable[[], Any]
    classes: bool = False
    name: str = "the network"
    classifier: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None


class CompiledNetwork:
    """A network that runs on the selected runtime; create it with `build`.

    A converted graph is compared with Keras on the first images, before any of its output is used. If the output
    differs, or the graph cannot be converted or run, Keras is used instead, with a warning.

    Attributes
    ----------
    runtime : str
        The runtime in use; ``keras`` after a fallback.
    width : int
        Number of output values per image.
    is_checked : bool
        Whether the output was compared with that of Keras, or needs no comparison.
    """

    width: int

    def __init__(self, source: NetworkSource, inference: Inference, cache: Cache | None, progress: Progress) -> None:
        self._source, self._progress = source, progress
        usable = cache is not None and cache.is_usable("networks", source.facts, progress)
        self._cache = cache if usable else None
        self.runtime, self._precision = inference.runtime, inference.precision
        self._version = runtimes.find(self.runtime).version
        self._device = "CPU"
        self._network: Any = None
        self._run_graph: Run | None = None
        self._run_keras: Run | None = None
        self._converted: ConvertedGraph | None = None
        self.is_checked = True

    @classmethod
    def build(
        cls, source: NetworkSource, inference: Inference, cache: Cache | None, progress: Progress = SILENT
    ) -> CompiledNetwork:
        """Build the network, or convert it, or load its graph from the cache.

        Parameters
        ----------
        source : NetworkSource
        inference : Inference
            With the name of a runtime, not ``auto``.
        cache : Cache or None
            Where converted graphs are stored, if anywhere.
        progress : Progress

        Raises
        ------
        MissingExtraError
            If the runtime is not installed.
        """
        compiled = cls(source, inference, cache, progress)
        if not runtimes.find(compiled.runtime).runs_converted_graph:
            compiled.width = int(compiled.network.output_shape[-1])
        elif not compiled._load_cached():
            compiled._convert()
        return compiled

    @property
    def device(self) -> str:
        """The device that computes."""
        return self._device if self.runtime == runtimes.KERAS else "CPU"

    @property
    def runtime_version(self) -> str:
        """The runtime with version and reduced precision, such as ``litert 2.1``."""
        precision = "" if self._precision == "f32" else f", {self._precision}"
        return f"{self.runtime} {self._version}{precision}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that determines its output, beside the images."""
        return {**self._source.facts, "runtime": self.runtime_version, "device": self.device}

    @property
    def network(self) -> Any:
        """The keras.Model, built or loaded on first use; this imports TensorFlow."""
        if self._network is None:
            imported = "tensorflow" in sys.modules
            with nullcontext() if imported else self._progress.track("starting TensorFlow", None):
                self._device = import_tensorflow()
                # Loading the cached file is faster than building, if no other process has removed it.
                if file := self._stored_file(KERAS_FILE):
                    from transfer_cli.models.keras_file import load_keras

                    self._network = load_keras(file)
                else:
                    self._network = self._source.build()
        return self._network

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the output for one or more images."""
        if not self.is_checked:
            return self.check(images)
        return self._by_keras(images) if self._run_graph is None else self._run_graph(images)

    def check(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compare the graph with Keras on some images; return the output of the graph if it agrees, else Keras's."""
        assert self._run_graph is not None
        assert self._converted is not None
        expected = self._by_keras(images)
        try:
            output = self._run_graph(images)
            fault = self._difference(expected, output)
        except (RuntimeError, ValueError) as error:
            fault = str(error)
        if fault:
            self._fall_back_to_keras(f"output of {self.runtime_version} differs ({fault})")
            return expected
        self.is_checked = True
        self._converted.checked[self.runtime_version] = len(images)
        if self._cache is not None and len(images) >= MIN_IMAGES_TO_CACHE:
            self._store(self._converted, self._cache)
        self._run_keras = None
        if KERAS_FILE in self._converted.files:
            self._network = None
        return output

    def save(self, keras_file: Path, graph_file: Path) -> bool:
        """Write the network, and its graph if it has a verified one; return whether it has.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        if file := self._stored_file(KERAS_FILE):
            shutil.copyfile(file, keras_file)
        else:
            from transfer_cli.models.keras_file import save_keras

            save_keras(self.network, keras_file)
        return self.save_graph(graph_file)

    def save_graph(self, graph_file: Path) -> bool:
        """Write the graph if it has a verified one; return whether it has."""
        if self._run_graph is None or not self.is_checked:
            return False
        if file := self._stored_file(GRAPH_FILE):
            shutil.copyfile(file, graph_file)
        else:
            from transfer_cli.inference.litert_conversion import convert

            # The cache was cleared in the meantime.
            convert(self.network, graph_file)
        return True

    def _stored_file(self, name: str) -> Path | None:
        """Return an undamaged file of the converted network."""
        return self._converted.folder / name if self._converted is not None and self._converted.has(name) else None

    def _by_keras(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._run_keras is None:
            from transfer_cli.models.compile import inference_function

            self._run_keras = inference_function(self.network)
        return self._run_keras(images)

    def _difference(self, expected: NDArray[np.float32], output: NDArray[np.float32]) -> str | None:
        fault = parity_fault(expected, output, self._precision, classes=self._source.classes)
        if fault or self._source.classifier is None:
            return fault
        probabilities = self._source.classifier(expected), self._source.classifier(output)
        return parity_fault(*probabilities, self._precision, classes=True)

    def _load_cached(self) -> bool:
        """Open the graph in the cache; return whether there is an undamaged one."""
        if self._cache is None:
            return False
        folder = self._cache.folder("networks", self._source.facts)
        if not folder.is_dir():
            return False
        self._converted = ConvertedGraph.open(self._cache, self._source.facts)
        if self._converted is None:
            self._progress.warn(f"{folder} was damaged: converting the network again")
            remove(folder)
            return False
        touch(folder)
        self._open_graph(self._converted)
        return True

    def _convert(self) -> None:
        network = self.network
        self.width = int(network.output_shape[-1])
        # If the disk for temporary files is full, that of the cache may not be.
        places = [None] if self._cache is None else [None, self._cache.path]
        for place in places:
            try:
                self._converted = self._convert_in(place)
            except ModelError as error:
                self._fall_back_to_keras(str(error))
                return
            except (OSError, OutputError) as error:
                reason = reason_of(error)
            else:
                self._open_graph(self._converted)
                return
        self._fall_back_to_keras(
            f"the converted graph could not be written ({reason}). Without it predicting starts TensorFlow. Free disk "
            "space, or choose another folder for temporary files (export TMPDIR=DIR), and run the command again with "
            "--overwrite"
        )

    def _convert_in(self, place: Path | None) -> ConvertedGraph:
        """Convert the network in a temporary folder, which is removed with this object."""
        folder = new_folder(parent=place)
        weakref.finalize(self, remove_folder, folder)
        with self._progress.track(f"converting {self._source.name}", None):
            from transfer_cli.inference.litert_conversion import convert

            with libraries_write_to(folder):
                convert(self.network, folder / GRAPH_FILE)
        return ConvertedGraph.create(folder, self.width)

    def _open_graph(self, converted: ConvertedGraph) -> None:
        self.width = converted.width
        try:
            self._run_graph = running.open_graph(self.runtime, converted.folder / GRAPH_FILE, self._precision)
        except MissingExtraError:
            raise
        except ModelError as error:
            self._fall_back_to_keras(str(error))
            return
        self.is_checked = self.runtime_version in converted.checked

    def _fall_back_to_keras(self, reason: str) -> None:
        self._progress.warn(f"falling back to Keras (slower) for {self._source.name}: {reason}")
        self.runtime, self._precision, self._run_graph, self.is_checked = runtimes.KERAS, "f32", None, True
        self._version = runtimes.find(runtimes.KERAS).version

    def _store(self, converted: ConvertedGraph, cache: Cache) -> None:
        """Store the graph in the cache."""
        try:
            if KERAS_FILE not in converted.files:
                from transfer_cli.models.keras_file import save_keras

                save_keras(self.network, converted.folder / KERAS_FILE)
                converted.add(KERAS_FILE)
            converted.store(cache, self._source.facts)
        except (OSError, OutputError) as error:
            self._progress.warn(f"cannot cache the converted network: {reason_of(error)}")
