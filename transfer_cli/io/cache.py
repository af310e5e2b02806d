"""Cache of features, converted networks and unfinished predictions on disk, within a maximum size."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.errors import InputError
from transfer_cli.io import drafts
from transfer_cli.io.atomic import remove, write_error
from transfer_cli.io.cache_trust import code, folder_fault, make_private, user_key
from transfer_cli.progress import Progress

LIMIT = 10 * 10**9
"""Default maximum size in bytes."""
KINDS = ("features", "networks", "predictions")
FACTS = "facts.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DRAFT = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{8}(\..+)?")
_STALE_SECONDS = 24 * 3600
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class CacheEntry:
    """One entry, which is removed as a whole.

    Attributes
    ----------
    kind : {"features", "networks", "predictions"}
    path : Path
        A shard of features, or the directory of a network or of the finished parts of a prediction.
    bytes : int
    used : float
        Time of the last use, in seconds since 1970.
    facts : mapping
        What it was computed from: the key of the cache.
    """

    kind: str
    path: Path
    bytes: int
    used: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Cache:
    """A folder of results that can be computed again.

    Attributes
    ----------
    path : Path
    limit : int
        Maximum size in bytes; the least recently used entries are removed first. 0 turns the cache off.
    """

    path: Path
    limit: int = LIMIT

    @classmethod
    def of_user(cls, limit: int | None = None) -> Cache:
        """Return the cache of this user: `$TRANSFER_CLI_CACHE`, or the system's cache folder."""
        import platformdirs

        folder = os.environ.get("TRANSFER_CLI_CACHE")
        path = Path(folder) if folder else platformdirs.user_cache_path("transfer-cli", appauthor=False)
        if limit is None and (size := os.environ.get("TRANSFER_CLI_CACHE_LIMIT")):
            limit = parse_size(size)
        return cls(path, LIMIT if limit is None else limit)

    @property
    def enabled(self) -> bool:
        """Whether the cache is read and written, if it can be trusted."""
        return self.limit > 0

    def is_usable(self, kind: str, facts: Mapping[str, Any], progress: Progress) -> bool:
        """Return whether results with these facts may be read and written; warn if another user can write them."""
        if not self.enabled:
            return False
        if reason := self.fault(self.folder(kind, facts)):
            progress.warn(reason)
        return reason is None

    def fault(self, *folders: Path) -> str | None:
        """Return why the cache cannot be trusted, of which `folders` are to be used, and what to type against it."""
        kinds = [self.path / kind for kind in KINDS]
        return folder_fault([self.path, *kinds, *folders]) or user_key()[1]

    def code(self, kind: str, facts: Mapping[str, Any], data: bytes) -> str:
        """Return the code that proves that this user wrote `data` as a result with these facts; 64 digits."""
        return code(user_key()[0], kind.encode(), digest_of_facts(facts).encode(), data)

    def folder(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Return the folder of the results with these facts: features of one kind, one network or one prediction."""
        return self.path / kind / digest_of_facts(facts)

    @staticmethod
    def shards(folder: Path) -> list[Path]:
        """Return the feature files in a folder of one network."""
        return sorted(path for path in folder.glob("*.parquet") if _DIGEST.fullmatch(path.stem))

    def entries(self) -> list[CacheEntry]:
        """Return all entries, the least recently used first."""
        entries = []
        for kind in KINDS:
            for folder in _named(self.path / kind):
                facts = _facts(folder)
                for path in self.shards(folder) if kind == "features" else [folder]:
                    # Another process may remove the entry at this moment.
                    with suppress(OSError):
                        size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*")))
                        entries.append(CacheEntry(kind, path, size, path.stat().st_mtime, facts))
        return sorted(entries, key=lambda entry: (entry.used, str(entry.path)))

    def sizes(self) -> dict[tuple[str, str], int]:
        """Return the size in bytes by kind and network."""
        sizes: Counter[tuple[str, str]] = Counter()
        for entry in sorted(self.entries(), key=lambda entry: entry.kind):
            sizes[entry.kind, str(entry.facts.get("backbone") or "your own model")] += entry.bytes
        return dict(sizes)

    def clear(self, kind: str | None = None) -> int:
        """Remove all entries, or all of one kind; return the freed bytes."""
        freed = 0
        for entry in self.entries():
            if kind in (None, entry.kind):
                remove(entry.path)
                freed += 0 if entry.path.exists() else entry.bytes
        self._sweep(older_than=0, kinds=(kind,) if kind else KINDS)
        return freed

    def trim(self) -> None:
        """Remove the least recently used entries until the rest is within the limit.

        A cache that is off is not touched: other runs may use it.
        """
        if not self.enabled:
            return
        self._sweep(older_than=_STALE_SECONDS)
        entries = self.entries()
        over = sum(entry.bytes for entry in entries) - self.limit
        while over > 0:
            entry = entries.pop(0)
            remove(entry.path)
            over -= entry.bytes

    @contextmanager
    def draft(self, kind: str, facts: Mapping[str, Any], suffix: str = "") -> Iterator[Path]:
        """Yield a draft path beside the folder of these facts, to be renamed into it; it is removed at the end.

        Raises
        ------
        OutputError
            If the cache cannot be written.
        """
        draft = self.path / kind / f".{digest_of_facts(facts)}.{secrets.token_hex(4)}{suffix}"
        drafts.enter(draft)
        try:
            make_private(self.path, draft.parent)
            yield draft
        except OSError as error:
            raise write_error(error, self.path) from error
        finally:
            remove(draft)
            drafts.leave(draft)

    def _sweep(self, older_than: float, kinds: Sequence[str] = KINDS) -> None:
        """Remove drafts of processes that were killed, and empty folders."""
        leftovers = [path for kind in kinds for path in self.path.glob(f"{kind}/.*") if _DRAFT.fullmatch(path.name)]
        if "features" in kinds:
            # Another process may be about to write the first file into a new folder.
            leftovers += [folder for folder in _named(self.path / "features") if not any(folder.glob("*.parquet"))]
        for path in leftovers:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime >= older_than:
                    remove(path)


def touch(path: Path) -> None:
    """Mark an entry as used now."""
    with suppress(OSError):
        os.utime(path)


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the key of a cache entry, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``20GB``, ``500 MB`` or ``0``; a kilobyte has 1000 bytes.

    Raises
    ------
    InputError
        If the text is not a size.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise InputError(f"{text!r} is not a size. Expected a number and a unit, such as 20GB, 500MB or 0.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _named(folder: Path) -> list[Path]:
    # Only folders named by a digest are ours and may be removed: the path may be a folder of the user.
    return [path for path in folder.glob("*") if _DIGEST.fullmatch(path.name) and path.is_dir()]


def _facts(folder: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}
