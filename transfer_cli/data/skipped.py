"""Files that were skipped because they could not be read, and the table that lists them (skipped.csv)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.io.csv_tables import read_table, write_table


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    path: str
    reason: str


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> None:
    """Write skipped.csv."""
    write_table(path, ("path", "reason"), ((item.path, item.reason) for item in skipped))


def read_skipped(path: Path) -> tuple[Skipped, ...]:
    """Read skipped.csv."""
    return tuple(Skipped(row["path"], row["reason"]) for row in read_table(path, ("path", "reason")))
