"""A network ready to run: on Keras, or as a graph that was converted once, checked and kept."""

from __future__ import annotations

import json
import shutil
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.catalog import runtimes
from transfer_cli.errors import MissingExtraError, ModelError, OutputError
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.runtime_parity import disagreement
from transfer_cli.io.atomic import remove, write_json
from transfer_cli.io.cache import FACTS, Cache, touch
from transfer_cli.io.digests import digest_of_file
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import start_tensorflow
from transfer_cli.recipe.sections import Inference

KERAS_FILE = "network.keras"
INFO_FILE = "info.json"
CHECKED = 32
"""On so many pictures a graph is compared with Keras where those at hand are fewer, or none."""
ENOUGH_TO_KEEP = 8
"""A graph that was compared on fewer pictures is used, but not kept for another time."""


@dataclass(frozen=True)
class Source:
    """A network before it is built.

    Attributes
    ----------
    facts : mapping
        All that changes what it computes, as JSON can hold it.
    build : callable
        Returns the keras.Model, from uint8 (n, size, size, 3) to float32 (n, k). TensorFlow has been started.
    classes : bool
        Whether its rows are probabilities.
    name : str
        What a person is told is converted.
    read_out : callable, optional
        What makes probabilities of its rows: they are compared, too.
    """

    facts: Mapping[str, Any]
    build: Callable[[], Any]
    classes: bool = False
    name: str = "the network"
    read_out: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None


class CompiledNetwork:
    """A network that runs on what `inference` says.

    A converted graph is compared with Keras on the first pictures it is given, before any of its rows is used. Where
    it disagrees, or cannot be made or run, Keras goes on, and a person is told.

    Parameters
    ----------
    source : Source
    inference : Inference
        Resolved: its runtime is a name of the catalog.
    cache : Cache or None
        Where the graph is kept for another time, if anywhere.
    progress : Progress

    Attributes
    ----------
    runtime : str
        What it runs on; ``keras`` after a fall.
    width : int
        Numbers a row.

    Raises
    ------
    MissingExtraError
        When the runtime is not installed.
    """

    def __init__(self, source: Source, inference: Inference, cache: Cache | None, progress: Progress = SILENT) -> None:
        self._source, self._progress = source, progress
        self._cache = cache if cache is not None and cache.is_on else None
        self.runtime, self._precision = inference.runtime, inference.precision
        spec = runtimes.find(self.runtime)
        self._version = spec.version
        self._device = "CPU"
        self._network: Any = None
        self._graph: running.Run | None = None
        self._keras: running.Run | None = None
        self._place: Path | None = None
        self._info: dict[str, Any] = {}
        self._checked = True
        if not spec.takes_graph:
            self.width = int(self.network.output_shape[-1])
        elif not self._load_cached():
            self._convert()

    @property
    def device(self) -> str:
        """What it computes on."""
        return self._device if self.runtime == runtimes.KERAS else "CPU"

    @property
    def words(self) -> str:
        """The runtime, its version and its numbers."""
        precision = "" if self._precision == "f32" else f", {self._precision}"
        return f"{self.runtime} {self._version}{precision}"

    @property
    def facts(self) -> dict[str, Any]:
        """All that changes its rows, beside the pictures."""
        return {**self._source.facts, "runtime": self.words, "device": self.device}

    @property
    def is_checked(self) -> bool:
        """Whether its rows may be used as they are."""
        return self._checked

    @property
    def network(self) -> Any:
        """The keras.Model; it is built or loaded where that was not done yet, which starts TensorFlow."""
        if self._network is None:
            is_here = "tensorflow" in sys.modules
            with nullcontext() if is_here else self._progress.track("starting TensorFlow", None):
                self._device = start_tensorflow()
                # A kept one is quicker to load than to build, if no other process has removed it meanwhile.
                if self._place is not None and self._has(KERAS_FILE):
                    from transfer_cli.models.keras_file import load_keras

                    self._network = load_keras(self._place / KERAS_FILE)
                else:
                    self._network = self._source.build()
        return self._network

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the rows of some pictures, one or more."""
        if not self._checked:
            return self.check(images)
        return self._by_keras(images) if self._graph is None else self._graph(images)

    def check(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compare the graph with Keras on some pictures; return the rows of what is right."""
        assert self._graph is not None
        expected = self._by_keras(images)
        try:
            given = self._graph(images)
            reason = disagreement(expected, given, self._precision, classes=self._source.classes)
            if not reason and self._source.read_out is not None:
                named = self._source.read_out(expected), self._source.read_out(given)
                reason = disagreement(*named, self._precision, classes=True)
        except (RuntimeError, ValueError) as error:
            reason = str(error)
        if reason:
            self._fall_back_to_keras(f"on {self.words} it does not give what it gives on Keras ({reason})")
            return expected
        self._checked = True
        self._info.setdefault("checked", {})[self.words] = len(images)
        if len(images) >= ENOUGH_TO_KEEP:
            self._keep()
        self._keras = None
        if KERAS_FILE in self._info["files"]:
            self._network = None
        return given

    def save(self, keras_file: Path, graph_file: Path) -> bool:
        """Write the network, and its graph where it has one that was checked; return whether it has.

        Raises
        ------
        OSError
            When a file cannot be written.
        """
        if self._place is not None and self._has(KERAS_FILE):
            shutil.copyfile(self._place / KERAS_FILE, keras_file)
        else:
            self.network.save(keras_file)
        return self.save_graph(graph_file)

    def save_graph(self, graph_file: Path) -> bool:
        """Write its graph where it has one that was checked; return whether it has."""
        if self._graph is None or not self._checked:
            return False
        if self._place is not None and self._has(GRAPH_FILE):
            shutil.copyfile(self._place / GRAPH_FILE, graph_file)
        else:
            from transfer_cli.inference.litert_conversion import convert

            # The cache was emptied meanwhile.
            convert(self.network, graph_file)
        return True

    def _by_keras(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._keras is None:
            from transfer_cli.models.compile import inference_function

            self._keras = inference_function(self.network)
        return self._keras(images)

    def _load_cached(self) -> bool:
        """Open the graph that is in the cache, if there is one and it is whole."""
        if self._cache is None:
            return False
        place = self._cache.folder("networks", self._source.facts)
        if not place.is_dir():
            return False
        self._place, self._info = place, _read(place)
        if not self._has(GRAPH_FILE) or not isinstance(self._info.get("width"), int):
            self._progress.warn(f"{place} was damaged: the network is converted again")
            remove(place)
            self._place, self._info = None, {}
            return False
        touch(place)
        self._open()
        return True

    def _convert(self) -> None:
        network = self.network
        self._info = {"width": int(network.output_shape[-1]), "files": {}}
        try:
            place = Path(mkdtemp(prefix="transfer-cli-"))
            weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
            with self._progress.track(f"converting {self._source.name}", None):
                from transfer_cli.inference.litert_conversion import convert

                convert(network, place / GRAPH_FILE)
            self._info["files"][GRAPH_FILE] = digest_of_file(place / GRAPH_FILE).model_dump()
            self._place = place
        except (OSError, ModelError) as error:
            self._fall_back_to_keras(str(error))
        else:
            self._open()

    def _open(self) -> None:
        assert self._place is not None
        self.width = self._info["width"]
        try:
            self._graph = running.open_graph(self.runtime, self._place / GRAPH_FILE, self._precision)
        except MissingExtraError:
            raise
        except ModelError as error:
            self._fall_back_to_keras(str(error))
            return
        self._checked = self.words in self._info.get("checked", {})

    def _fall_back_to_keras(self, reason: str) -> None:
        self._progress.warn(f"{self._source.name} is run by Keras, which is slower: {reason}")
        self.width = self._info["width"]
        self.runtime, self._precision, self._graph, self._checked = runtimes.KERAS, "f32", None, True
        self._version = runtimes.find(runtimes.KERAS).version

    def _keep(self) -> None:
        """Put the network into the cache, or note there that one more runtime gives what Keras gives."""
        if self._cache is None or self._place is None:
            return
        target = self._cache.folder("networks", self._source.facts)
        try:
            if self._place == target:
                # Not if another process has removed it meanwhile.
                if target.is_dir():
                    write_json(target / INFO_FILE, self._info)
                return
            self.network.save(self._place / KERAS_FILE)
            self._info["files"][KERAS_FILE] = digest_of_file(self._place / KERAS_FILE).model_dump()
            write_json(self._place / INFO_FILE, self._info)
            write_json(self._place / FACTS, self._source.facts)
            with self._cache.draft("networks", self._source.facts) as draft:
                shutil.copytree(self._place, draft)
                try:
                    draft.replace(target)
                except OSError:
                    # Another process may have been quicker: its files are as good.
                    if not target.is_dir():
                        raise
            self._cache.trim()
        except (OSError, OutputError) as error:
            self._progress.warn(f"the converted network is not kept for another time: {error}")

    def _has(self, name: str) -> bool:
        """Return whether a file is in its place as it was written."""
        assert self._place is not None
        try:
            return bool(digest_of_file(self._place / name).model_dump() == self._info["files"][name])
        except (OSError, KeyError, TypeError):
            return False


def _read(place: Path) -> dict[str, Any]:
    try:
        info = json.loads((place / INFO_FILE).read_text("utf-8"))
        return info if isinstance(info, dict) else {}
    except (OSError, ValueError):
        return {}
