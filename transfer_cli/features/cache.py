"""Features that were computed before, by the digest of their picture."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import remove, write_json
from transfer_cli.io.cache import FACTS, Cache, touch
from transfer_cli.progress import Progress

_ROWS_A_SHARD = 1024
_BYTES_A_SHARD = 2**24
_SHARDS_HELD = 4

Row = NDArray[np.float32]


class FeatureCache:
    """The features of one network, in shards that are written whole and called by the digest of their content.

    A shard is never changed, so that two processes can read and write at once; one whose content is not what its
    name says is removed, and its pictures are run again.

    Parameters
    ----------
    cache : Cache
    facts : mapping
        All that changes a feature, beside the picture.
    width : int
        Numbers a feature.
    progress : Progress
    """

    def __init__(self, cache: Cache, facts: Mapping[str, Any], width: int, progress: Progress) -> None:
        self._cache, self._facts, self._width, self._progress = cache, facts, width, progress
        self._folder = cache.folder("features", facts)
        self._places: dict[str, tuple[Path, int]] = {}
        self._held: OrderedDict[Path, Row] = OrderedDict()
        self._waiting: list[tuple[str, Row]] = []
        self._writes = cache.is_on
        self._rows_a_shard = max(1, min(_ROWS_A_SHARD, _BYTES_A_SHARD // (width * np.dtype(np.float32).itemsize)))
        for path in cache.shards(self._folder) if cache.is_on else ():
            if (shard := self._read(path, ["sha256"])) is not None:
                digests = shard.column("sha256").to_pylist()
                self._places |= {digest: (path, row) for row, digest in enumerate(digests)}

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def get(self, digests: Sequence[str]) -> dict[str, Row]:
        """Return the features, each of shape (width,), of those pictures for which they are to be had."""
        wanted: dict[Path, list[tuple[str, int]]] = {}
        for digest in digests:
            if digest in self._places:
                path, row = self._places[digest]
                wanted.setdefault(path, []).append((digest, row))
        found: dict[str, Row] = {}
        for path, places in wanted.items():
            rows = self._rows(path)
            if rows is None:
                self._places = {digest: place for digest, place in self._places.items() if place[0] != path}
            else:
                found |= {digest: rows[row] for digest, row in places}
        return found

    def add(self, digests: Sequence[str], features: Row) -> None:
        """Keep the features of some pictures."""
        if not self._writes:
            return
        self._waiting += zip(digests, features, strict=True)
        if len(self._waiting) >= self._rows_a_shard:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._waiting and self._writes:
            try:
                self._write(dict(self._waiting))
            except OutputError as error:
                self._writes = False
                self._progress.warn(f"features are not kept for another time: {error}")
        self._waiting = []

    def _write(self, rows: Mapping[str, Row]) -> None:
        features = pa.array(np.concatenate(list(rows.values())))
        columns = [pa.array(list(rows)), pa.FixedSizeListArray.from_arrays(features, self._width)]
        written = BytesIO()
        # Features are all different: neither a dictionary nor compression makes them smaller.
        pq.write_table(
            pa.Table.from_arrays(columns, ["sha256", "feature"]), written, use_dictionary=False, compression="none"
        )
        data = written.getbuffer()
        with self._cache.draft("features", self._facts, ".parquet") as draft:
            draft.write_bytes(data)
            # Written each time: another process may have emptied the folder since.
            write_json(self._folder / FACTS, self._facts)
            draft.replace(self._folder / f"{hashlib.sha256(data).hexdigest()}.parquet")

    def _rows(self, path: Path) -> Row | None:
        """Return all features of a shard; those that were used last are held."""
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        table = self._read(path, ["feature"])
        if table is None:
            return None
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("feature").chunks])
        if flat.size % self._width:
            return None
        touch(path)
        rows: Row = flat.reshape(-1, self._width)
        self._held[path] = rows
        if len(self._held) > _SHARDS_HELD:
            self._held.popitem(last=False)
        return rows

    def _read(self, path: Path, columns: list[str]) -> pa.Table | None:
        """Return some columns of a shard, or None where it is gone or damaged."""
        # Another process may remove it at this moment.
        with suppress(OSError):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == path.stem:
                # Not read_table, which imports much more than it needs for one file.
                return pq.ParquetFile(pa.BufferReader(data)).read(columns=columns)
            self._progress.warn(f"{path} was damaged: its features are computed again")
            remove(path)
        return None
