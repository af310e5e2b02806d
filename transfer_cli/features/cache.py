"""The feature cache: features computed before, by the SHA-256 of the image."""

from __future__ import annotations

import hmac
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
from transfer_cli.io.atomic import put_in_place, remove, write_json
from transfer_cli.io.cache import FACTS, Cache, touch
from transfer_cli.io.cache_trust import make_private
from transfer_cli.progress import Progress

_ROWS_PER_SHARD = 1024
_BYTES_PER_SHARD = 2**24
_SHARDS_IN_MEMORY = 4

Row = NDArray[np.float32]


class FeatureCache:
    """The features of one network, in shards that are written atomically and named by a code of their content.

    The code is an HMAC whose key only this user can read: what another user or program puts there is not read.

    A shard is never changed, so several processes can read and write at the same time. A shard whose content does not
    match its name is removed, and its features are computed again.

    Parameters
    ----------
    cache : Cache
    facts : mapping
        Everything that determines the features, beside the image.
    width : int
        Number of values per feature vector.
    progress : Progress
    """

    def __init__(self, cache: Cache, facts: Mapping[str, Any], width: int, progress: Progress) -> None:
        self._cache, self._facts, self._width, self._progress = cache, facts, width, progress
        self._folder = cache.folder("features", facts)
        self._places: dict[str, tuple[Path, int]] = {}
        self._loaded: OrderedDict[Path, Row] = OrderedDict()
        self._pending: list[tuple[str, Row]] = []
        self._writes = usable = cache.is_usable("features", facts, progress)
        self._rows_per_shard = max(1, min(_ROWS_PER_SHARD, _BYTES_PER_SHARD // (width * np.dtype(np.float32).itemsize)))
        for path in cache.shards(self._folder) if usable else ():
            if (shard := self._read(path, ["sha256"])) is not None:
                digests = shard.column("sha256").to_pylist()
                self._places |= {digest: (path, row) for row, digest in enumerate(digests)}

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def get(self, digests: Sequence[str]) -> dict[str, Row]:
        """Return the cached features, each of shape (width,), of those images that have any."""
        wanted: dict[Path, list[tuple[str, int]]] = {}
        for digest in digests:
            if digest in self._places:
                path, row = self._places[digest]
                wanted.setdefault(path, []).append((digest, row))
        features: dict[str, Row] = {}
        for path, places in wanted.items():
            rows = self._rows(path)
            if rows is None:
                self._places = {digest: place for digest, place in self._places.items() if place[0] != path}
            else:
                features |= {digest: rows[row] for digest, row in places}
        return features

    def add(self, digests: Sequence[str], features: Row) -> None:
        """Add the features of some images."""
        if not self._writes:
            return
        self._pending += zip(digests, features, strict=True)
        if len(self._pending) >= self._rows_per_shard:
            self.flush()

    def flush(self) -> None:
        """Write all features that were added."""
        if self._pending and self._writes:
            try:
                self._write(dict(self._pending))
            except OutputError as error:
                self._writes = False
                self._progress.warn(f"cannot write the feature cache: {error}")
        self._pending = []

    def _write(self, rows: Mapping[str, Row]) -> None:
        features = pa.array(np.concatenate(list(rows.values())))
        columns = [pa.array(list(rows)), pa.FixedSizeListArray.from_arrays(features, self._width)]
        written = BytesIO()
        # Features hardly repeat: dictionary encoding and compression would only cost time.
        pq.write_table(
            pa.Table.from_arrays(columns, ["sha256", "feature"]), written, use_dictionary=False, compression="none"
        )
        data = written.getvalue()
        with self._cache.draft("features", self._facts, ".parquet") as draft:
            draft.write_bytes(data)
            # Written each time, since another process may have cleared the cache.
            make_private(self._folder)
            write_json(self._folder / FACTS, self._facts)
            put_in_place(draft, self._folder / f"{self._code(data)}.parquet")

    def _code(self, data: bytes) -> str:
        return self._cache.code("features", self._facts, data)

    def _rows(self, path: Path) -> Row | None:
        """Return all features of a shard; the last ones used stay in memory."""
        if path in self._loaded:
            self._loaded.move_to_end(path)
            return self._loaded[path]
        table = self._read(path, ["feature"])
        if table is None:
            return None
        flat = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("feature").chunks])
        if flat.size % self._width:
            return None
        touch(path)
        rows: Row = flat.reshape(-1, self._width)
        self._loaded[path] = rows
        if len(self._loaded) > _SHARDS_IN_MEMORY:
            self._loaded.popitem(last=False)
        return rows

    def _read(self, path: Path, columns: list[str]) -> pa.Table | None:
        """Return some columns of a shard, or None if it is missing or damaged."""
        # Another process may remove it at any time.
        with suppress(OSError):
            data = path.read_bytes()
            if hmac.compare_digest(self._code(data), path.stem):
                # read_table would import much more than a single file needs.
                return pq.ParquetFile(pa.BufferReader(data)).read(columns=columns)
            self._progress.warn(f"{path} was damaged: computing its features again")
            remove(path)
        return None
