"""The folder of exported files: check that nothing else is overwritten, and write parity.json and labels.txt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.inference.exported_model import exported_metadata
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.io.atomic import check_writable_folder, remove, write_json, write_text
from transfer_cli.io.digests import has_digest
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.io.untrusted.names import LABELS_FILE
from transfer_cli.progress import SILENT, Progress

TABLE = "parity.json"
DRAFT = ".draft-"
"""Prefix of the temporary folder in which a format is written and checked."""
_STALE_SECONDS = 24 * 3600


def check_output_folder(target: Path, specs: Sequence[ExportFormatSpec]) -> None:
    """Raise OutputError if an export would overwrite a file that transfer-cli did not write."""
    check_writable_folder(target)
    unknown = [] if _read_table(target) else [target / LABELS_FILE, target / TABLE]
    for spec in specs:
        if not _is_export(target / spec.file):
            unknown += [target / name for name in (spec.file, *spec.companions)]
    for path in unknown:
        if path.exists():
            raise OutputError(
                f"transfer-cli export did not write {path}, and would overwrite it.",
                hint="Choose another folder with -o DIR.",
            )


def _is_export(path: Path) -> bool:
    if not path.is_dir():
        return has_digest(path)
    try:
        # A SavedModel with additional files is rejected: the folder would be replaced as a whole.
        return bool(exported_metadata(path))
    except ModelError:
        return False


def write_parity_table(
    target: Path, bundle: ModelBundle, rows: Mapping[str, Mapping[str, Any]], progress: Progress = SILENT
) -> None:
    """Write labels.txt and parity.json, in which the rows of other formats of the same model remain.

    Parameters
    ----------
    target : Path
    bundle : ModelBundle
        The exported model.
    rows : mapping of str to mapping
        Row of each format, by its name.
    progress : Progress
        Is warned of files in the folder that were exported from another model.
    """
    # Temporary folders of processes that were killed.
    for draft in target.glob(f"{DRAFT}*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                remove(draft)
    remaining = _remaining_rows(target, bundle, rows, progress)
    # The table first: with it in place, labels.txt is known to be ours.
    write_json(target / TABLE, {"bundle": bundle.digest, "formats": [*remaining, *rows.values()]})
    write_text(target / LABELS_FILE, ExportMetadata.of_bundle(bundle, "").labels_text)


def _remaining_rows(
    target: Path, bundle: ModelBundle, written: Mapping[str, Mapping[str, Any]], progress: Progress
) -> list[dict[str, Any]]:
    table = _read_table(target) or {}
    rows = [row for row in table.get("formats", []) if row.get("format") not in written and row.get("file")]
    existing = [row for row in rows if (target / row["file"]).exists()]
    if table.get("bundle") == bundle.digest:
        return existing
    for row in existing:
        progress.warn(
            f"{target / row['file']} was exported from another model, and {LABELS_FILE} does not apply to it: remove it"
        )
    return []


def _read_table(target: Path) -> dict[str, Any] | None:
    """Return the parity.json of an earlier export; None if there is none."""
    try:
        table = read_json(target / TABLE)
        return table if {"bundle", "formats"} == table.keys() and all(row.keys() for row in table["formats"]) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None
