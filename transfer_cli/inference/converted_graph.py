"""A converted network on disk: its graph, its Keras file, and the runtimes whose output was verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.io.atomic import write_json
from transfer_cli.io.cache import FACTS, Cache
from transfer_cli.io.digests import digest_of_file

KERAS_FILE = "network.keras"
INFO_FILE = "info.json"


class ConvertedGraph:
    """The files of a converted network in a folder, which is temporary or in the cache.

    Attributes
    ----------
    folder : Path
    width : int
        Number of output values per image.
    """

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder, self._info = folder, info
        self.width: int = info["width"]

    @classmethod
    def create(cls, folder: Path, width: int) -> ConvertedGraph:
        """Describe a folder that holds a new graph."""
        graph = cls(folder, {"width": width, "files": {}})
        graph.add(GRAPH_FILE)
        return graph

    @classmethod
    def open(cls, folder: Path) -> ConvertedGraph | None:
        """Return the graph in a folder of the cache; None if it is damaged."""
        try:
            info = json.loads((folder / INFO_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(info, dict) or not isinstance(info.get("width"), int):
            return None
        graph = cls(folder, info)
        return graph if graph.has(GRAPH_FILE) else None

    def has(self, name: str) -> bool:
        """Return whether a file exists and is unaltered."""
        try:
            return bool(digest_of_file(self.folder / name).model_dump() == self._info["files"][name])
        except (OSError, KeyError, TypeError):
            return False

    def lists(self, name: str) -> bool:
        """Return whether a file was added."""
        return name in self._info["files"]

    def add(self, name: str) -> None:
        """Record the digest of a file that was written to the folder."""
        self._info["files"][name] = digest_of_file(self.folder / name).model_dump()

    def is_verified_on(self, runtime: str) -> bool:
        """Return whether the output of a runtime was compared with that of Keras."""
        return runtime in self._info.get("checked", {})

    def set_verified_on(self, runtime: str, images: int) -> None:
        """Record that the output of a runtime was compared with that of Keras on a number of images."""
        self._info.setdefault("checked", {})[runtime] = images

    def store(self, cache: Cache, facts: Mapping[str, Any]) -> None:
        """Copy the folder to the cache; if it is there already, update the verified runtimes.

        Raises
        ------
        OSError, OutputError
            If it cannot be written.
        """
        target = cache.folder("networks", facts)
        if self.folder == target:
            # Another process may have removed it.
            if target.is_dir():
                write_json(target / INFO_FILE, self._info)
            return
        write_json(self.folder / INFO_FILE, self._info)
        write_json(self.folder / FACTS, facts)
        with cache.draft("networks", facts) as draft:
            shutil.copytree(self.folder, draft)
            try:
                draft.replace(target)
            except OSError:
                # Another process may have stored the same network first.
                if not target.is_dir():
                    raise
        cache.trim()
