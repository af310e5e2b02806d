"""A converted network on disk: its graph, its Keras file, and the runtimes whose output was verified."""

from __future__ import annotations

import hmac
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.io.atomic import flush_all, write_json
from transfer_cli.io.cache import FACTS, Cache
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.json_text import parse_json
from transfer_cli.regular_file import read_regular

KERAS_FILE = "network.keras"
INFO_FILE = "info.json"
_MOST_BYTES = 1_000_000


@dataclass
class ConvertedGraph:
    """The files of a converted network in a folder, which is temporary or in the cache.

    Attributes
    ----------
    folder : Path
    width : int
        Number of output values per image.
    files : dict of str to dict
        Size and digest of each file that was written to the folder.
    checked : dict of str to int
        Number of images on which the output of each runtime was compared with that of Keras.
    """

    folder: Path
    width: int
    files: dict[str, Any]
    checked: dict[str, int]

    @classmethod
    def create(cls, folder: Path, width: int) -> ConvertedGraph:
        """Describe a folder that holds a new graph."""
        graph = cls(folder, width, {}, {})
        graph.add(GRAPH_FILE)
        return graph

    @classmethod
    def open(cls, cache: Cache, facts: Mapping[str, Any]) -> ConvertedGraph | None:
        """Return the graph with these facts in the cache; None if it is damaged, or this user did not write it."""
        folder = cache.folder("networks", facts)
        try:
            info = parse_json(read_regular(folder / INFO_FILE, most_bytes=_MOST_BYTES), most_bytes=_MOST_BYTES)
            graph = cls(folder, info["width"], info["files"], info["checked"])
            if not hmac.compare_digest(graph._info(cache, facts)["code"], info["code"]):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return graph if isinstance(graph.width, int) and graph.has(GRAPH_FILE) else None

    def has(self, name: str) -> bool:
        """Return whether a file exists and is unaltered."""
        try:
            return bool(digest_of_file(self.folder / name).model_dump() == self.files[name])
        except (OSError, KeyError, TypeError):
            return False

    def add(self, name: str) -> None:
        """Record the digest of a file that was written to the folder."""
        self.files[name] = digest_of_file(self.folder / name).model_dump()

    def store(self, cache: Cache, facts: Mapping[str, Any]) -> None:
        """Copy the folder to the cache; if it is there already, update the verified runtimes.

        Raises
        ------
        OSError, OutputError
            If it cannot be written.
        """
        target = cache.folder("networks", facts)
        info = self._info(cache, facts)
        if self.folder == target:
            # Another process may have removed it.
            if target.is_dir():
                write_json(target / INFO_FILE, info)
            return
        write_json(self.folder / INFO_FILE, info)
        write_json(self.folder / FACTS, facts)
        with cache.draft("networks", facts) as draft:
            shutil.copytree(self.folder, draft)
            try:
                flush_all(draft)
                draft.replace(target)
            except OSError:
                # Another process may have stored the same network first.
                if not target.is_dir():
                    raise
        cache.trim()

    def _info(self, cache: Cache, facts: Mapping[str, Any]) -> dict[str, Any]:
        info = {"width": self.width, "files": self.files, "checked": self.checked}
        return {**info, "code": cache.code("networks", facts, json.dumps(info, sort_keys=True).encode())}
