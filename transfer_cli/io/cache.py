"""What was computed once and need not be computed again: features and converted networks, kept within a limit."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.errors import InputError
from transfer_cli.io.atomic import refused, remove

LIMIT = 10 * 10**9
"""Bytes that the cache may take where no limit is given."""
KINDS = ("features", "networks")
FACTS = "facts.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DRAFT = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{8}(\..+)?")
_STALE_SECONDS = 24 * 3600
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Entry:
    """One thing that is kept or removed whole.

    Attributes
    ----------
    kind : {"features", "networks"}
    path : Path
        A shard of features, or the directory of a network.
    bytes : int
    used : float
        When it was written or last read, in seconds since 1970.
    facts : mapping
        What it was made of.
    """

    kind: str
    path: Path
    bytes: int
    used: float
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Cache:
    """A directory of things that can be computed again.

    Attributes
    ----------
    path : Path
    limit : int
        Bytes; what was not used for the longest time goes first. 0: nothing is read and nothing is kept.
    """

    path: Path
    limit: int = LIMIT

    @classmethod
    def of_user(cls, limit: int | None = None) -> Cache:
        """Return the cache of this person: `$TRANSFER_CLI_CACHE`, or where the system keeps such things."""
        import platformdirs

        given = os.environ.get("TRANSFER_CLI_CACHE")
        path = Path(given) if given else platformdirs.user_cache_path("transfer-cli", appauthor=False)
        if limit is None and (said := os.environ.get("TRANSFER_CLI_CACHE_LIMIT")):
            limit = parse_size(said)
        return cls(path, LIMIT if limit is None else limit)

    @property
    def is_on(self) -> bool:
        """Whether anything is read or kept."""
        return self.limit > 0

    def folder(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Return where what was made of these facts is: features of one kind, or one network."""
        return self.path / kind / digest_of_facts(facts)

    @staticmethod
    def shards(folder: Path) -> list[Path]:
        """Return the files of features in a folder of one network."""
        return sorted(path for path in folder.glob("*.parquet") if _DIGEST.fullmatch(path.stem))

    def entries(self) -> list[Entry]:
        """Return all that is kept, what was not used for the longest time first."""
        found = [*self._shards(), *self._networks()]
        return sorted(found, key=lambda entry: (entry.used, str(entry.path)))

    def kept(self) -> dict[tuple[str, str], int]:
        """Return how many bytes there are of each kind and network."""
        found: dict[tuple[str, str], int] = {}
        for entry in sorted(self.entries(), key=lambda entry: entry.kind):
            place = (entry.kind, str(entry.facts.get("backbone") or "a model of yours"))
            found[place] = found.get(place, 0) + entry.bytes
        return found

    def clear(self, kind: str | None = None) -> int:
        """Remove all that is kept, or all of one kind; return how many bytes that were."""
        freed = 0
        for entry in self.entries():
            if kind in (None, entry.kind):
                remove(entry.path)
                freed += 0 if entry.path.exists() else entry.bytes
        self._sweep(older_than=0, kinds=(kind,) if kind else KINDS)
        return freed

    def trim(self) -> None:
        """Remove what was not used for the longest time until the rest is within the limit.

        A cache that is off is left as it is: it may be that of other runs.
        """
        if not self.is_on:
            return
        self._sweep(older_than=_STALE_SECONDS)
        entries = self.entries()
        over = sum(entry.bytes for entry in entries) - self.limit
        for entry in entries:
            if over <= 0:
                break
            remove(entry.path)
            over -= entry.bytes

    @contextmanager
    def draft(self, kind: str, facts: Mapping[str, Any], suffix: str = "") -> Iterator[Path]:
        """Yield a place beside that of these facts, to be renamed into it; it is gone at the end.

        Raises
        ------
        OutputError
            When the cache cannot be written.
        """
        place = self.path / kind / f".{digest_of_facts(facts)}.{secrets.token_hex(4)}{suffix}"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            yield place
        except OSError as error:
            raise refused(error, self.path) from error
        finally:
            remove(place)

    def _shards(self) -> Iterator[Entry]:
        for folder in _named(self.path / "features"):
            facts = _facts(folder)
            for shard in self.shards(folder):
                yield from _entry("features", shard, [shard], facts)

    def _networks(self) -> Iterator[Entry]:
        for folder in _named(self.path / "networks"):
            yield from _entry("networks", folder, [*folder.glob("*")], _facts(folder))

    def _sweep(self, older_than: float, kinds: Sequence[str] = KINDS) -> None:
        """Remove the drafts of processes that died, and folders in which nothing is left."""
        left = [path for kind in kinds for path in self.path.glob(f"{kind}/.*") if _DRAFT.fullmatch(path.name)]
        if "features" in kinds:
            # Another process may be about to put the first shard into a new one.
            left += [folder for folder in _named(self.path / "features") if not any(folder.glob("*.parquet"))]
        for path in left:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime >= older_than:
                    remove(path)


def touch(path: Path) -> None:
    """Mark something as used now."""
    with suppress(OSError):
        os.utime(path)


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of facts, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def parse_size(text: str) -> int:
    """Return the bytes that ``20GB``, ``500 MB`` or ``0`` stand for; a kilobyte has 1000.

    Raises
    ------
    InputError
        When it is nothing of the kind.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise InputError(f"{text!r} is no size. Expected a number and a unit, such as 20GB, 500MB or 0.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _named(folder: Path) -> list[Path]:
    # Nothing is ever removed but what has a name as we give it: the place may be a person's own folder.
    return [path for path in folder.glob("*") if _DIGEST.fullmatch(path.name) and path.is_dir()]


def _facts(folder: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


def _entry(kind: str, path: Path, files: list[Path], facts: Mapping[str, Any]) -> Iterator[Entry]:
    # Another process may remove it at this moment.
    with suppress(OSError):
        yield Entry(kind, path, sum(file.stat().st_size for file in files), path.stat().st_mtime, facts)
