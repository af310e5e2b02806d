"""Find a row of a catalog table by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from transfer_cli.errors import UnknownNameError

Row = TypeVar("Row")


def lookup(rows: Mapping[str, Row], kind: str, name: str, hint: str = "") -> Row:
    """Return the row called `name`; raise UnknownNameError, with the nearest name, if there is none."""
    if name not in rows:
        raise UnknownNameError.of(kind, name, rows, hint or f"Expected one of {', '.join(rows)}.")
    return rows[name]
