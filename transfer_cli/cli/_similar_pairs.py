"""``transfer-cli similar IMAGES --backbone NAME``: how alike given images are, without a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.catalog.cosine_scale import SCALES
from transfer_cli.cli._console import Console, table_text, terminal_width
from transfer_cli.cli._options import cache_of, check_suffix
from transfer_cli.cli._summaries import note_left_out, warn_skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.text import counted, valid_json

if TYPE_CHECKING:
    from transfer_cli.features.image_pairs import ImagePairs

_HEADER = ("path_a", "path_b", "cosine", "percentile")
_OF_RUN = {"part": "--part", "sheet": "--sheet", "images": "--images", "for_excel": "--for-excel"}
"""Options that need a run."""


def check_options(options: dict[str, Any]) -> None:
    """Raise a usage error if options of a run are given without one, or the other way round."""
    given = click.get_current_context().get_parameter_source
    if options["backbone"] is None:
        if options["preprocess"] is not None:
            raise click.UsageError("--preprocess needs --backbone FILE.keras.")
        return
    names = [flag for name, flag in _OF_RUN.items() if given(name) is click.core.ParameterSource.COMMANDLINE]
    if names:
        raise click.UsageError(f"--backbone compares images without a run. Leave out {' and '.join(names)}.")


def compare(console: Console, words: tuple[str, ...], output: Path | None, options: dict[str, Any]) -> int:
    """Print how alike images are: one row per pair; return the exit code."""
    from transfer_cli.features.image_pairs import image_pairs
    from transfer_cli.io.atomic import atomic_write, check_writable

    if output:
        check_suffix(output, ".csv", ".jsonl")
        check_writable(output)
    if all(not Path(word).is_dir() for word in words) and _is_given("count"):
        raise click.UsageError("-k is for images and a folder: the number of images of the folder per image.")
    found = image_pairs(
        words,
        options["backbone"],
        preprocess=options["preprocess"],
        count=options["count"],
        runtime=options["runtime"],
        strict=options["strict"],
        offline=console.offline,
        cache=cache_of(options),
        progress=console,
    )
    content = _content(found, _format_of(output, console))
    if output:
        with atomic_write(output) as draft:
            draft.write_bytes(content)
    else:
        console.rows.write(content)
        console.rows.flush()
    note_left_out(console, found.left_out)
    warn_skipped(console, found.skipped)
    console.note(f"{counted(found.images, 'image')}, {len(found.skipped)} skipped", *_scale(found, options["backbone"]))
    if output:
        console.output(output, images=found.images, skipped=len(found.skipped))
    return DONE_WITH_SKIPPED if found.skipped else DONE


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _format_of(output: Path | None, console: Console) -> str:
    if output is None:
        return "jsonl" if console.json else "table" if sys.stdout.isatty() else "csv"
    return output.suffix.lower().lstrip(".")


def _content(found: ImagePairs, format_: str) -> bytes:
    rows = [(pair.path_a, pair.path_b, f"{pair.cosine:.6f}", pair.percentile) for pair in found.pairs]
    if format_ == "jsonl":
        return valid_json("".join(json.dumps(vars(pair), ensure_ascii=False) + "\n" for pair in found.pairs)).encode()
    cells = [[*map(str, row[:3]), "" if row[3] is None else str(row[3])] for row in rows]
    if format_ == "table":
        text = table_text(_HEADER, cells, numeric=("cosine", "percentile"), width=terminal_width())
        return f"{text}\n".encode()
    return csv_bytes([_HEADER, *cells])


def _scale(found: ImagePairs, backbone: str) -> list[str]:
    """Return what the numbers mean: what is usual for this network, and for these images."""
    lines = []
    if scale := SCALES.get(backbone):
        unrelated, same = (f"{low:.2f} to {high:.2f}" for low, high in (scale.unrelated, scale.same_class))
        lines.append(
            f"cosine similarity by {backbone}: unrelated photographs mostly have {unrelated}, two of one class {same}"
        )
    else:
        lines.append(f"cosine similarity: what is usual for {backbone} was not measured; only the order says something")
    if found.reference:
        lines.append(f"percentile: share of all pairs of {found.reference} images that are less alike")
    else:
        lines.append("percentiles need 20 images: add more, or a folder of images of the same kind")
    return lines
