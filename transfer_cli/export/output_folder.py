"""The folder that exported files are written into: what of it is ours, and the table of how each was tried."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog.export_formats import ExporterSpec
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.inference.exported_model import facts_of
from transfer_cli.inference.formats import embedded_digest
from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.io.atomic import remove, write_json, write_text
from transfer_cli.io.untrusted.names import LABELS
from transfer_cli.progress import SILENT, Progress

TABLE = "parity.json"
DRAFT = ".draft-"
"""How the folder begins in which a format is written and tried."""
_STALE_SECONDS = 24 * 3600


def must_be_free(target: Path, specs: Sequence[ExporterSpec]) -> None:
    """Raise OutputError if an export, or what is written beside it, would replace what this program did not write."""
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file. Expected the name of a folder.")
    places = [] if _table(target) else [target / LABELS, target / TABLE]
    for spec in specs:
        if not _is_ours(target / spec.file):
            places += [target / name for name in (spec.file, *spec.companions)]
    for place in places:
        if place.exists():
            raise OutputError(
                f"{place} was not written by transfer-cli export, and would be lost.",
                hint="Choose another folder with -o DIR.",
            )


def _is_ours(place: Path) -> bool:
    if not place.is_dir():
        return embedded_digest.is_sealed(place)
    try:
        # Nothing else may lie in it: it is replaced as a whole.
        return bool(facts_of(place))
    except ModelError:
        return False


def write_down(
    target: Path, bundle: ModelBundle, rows: Mapping[str, Mapping[str, Any]], progress: Progress = SILENT
) -> None:
    """Write the class names, and the table of how each format was tried; what it says of other formats stays in it.

    Parameters
    ----------
    target : Path
    bundle : ModelBundle
        What was exported.
    rows : mapping of str to mapping
        What there is to say of each format, by its name.
    progress : Progress
        Is told which files that stay are of another model.
    """
    _sweep(target)
    kept = _kept(target, bundle, rows, progress)
    # The table first: by it the labels are known as ours.
    write_json(target / TABLE, {"bundle": bundle.digest, "formats": [*kept, *rows.values()]})
    write_text(target / LABELS, ExportedFacts.of_bundle(bundle, "").labels_text)


def _sweep(target: Path) -> None:
    """Remove the drafts of processes that died."""
    for draft in target.glob(f"{DRAFT}*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                remove(draft)


def _kept(
    target: Path, bundle: ModelBundle, written: Mapping[str, Mapping[str, Any]], progress: Progress
) -> list[dict[str, Any]]:
    table = _table(target) or {}
    rows = [row for row in table.get("formats", []) if row.get("format") not in written and row.get("file")]
    there = [row for row in rows if (target / row["file"]).exists()]
    if table.get("bundle") == bundle.digest:
        return there
    for row in there:
        progress.warn(f"{target / row['file']} is of another model, and {LABELS} beside it is not its own: remove it")
    return []


def _table(target: Path) -> dict[str, Any] | None:
    """Return what an earlier export said of its files, if that is what lies there."""
    try:
        table = json.loads((target / TABLE).read_text("utf-8"))
        return table if {"bundle", "formats"} == table.keys() and all(row.keys() for row in table["formats"]) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None
