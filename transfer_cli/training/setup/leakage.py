"""The search of every training for near-duplicates across the parts of its split, and the command that removes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.held_out_copies import held_out_copies
from transfer_cli.audit.leakage import Leaks, leaked_test_images, leaking_pairs
from transfer_cli.bundle.repeats_folder import is_repeat
from transfer_cli.catalog.backbones import EMBEDDED
from transfer_cli.data.groups import NEAR_DUPLICATES
from transfer_cli.data.split import Split
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.features.fingerprints import Fingerprints
from transfer_cli.recipe.sections import PartsWithVal
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.score_limits import LEAKAGE_EVENT
from transfer_cli.text import counted, shell_command

_NAMES = {"val": "validation", "test": "test"}
_REPLACED = ("-o", "--output", "--split", "--group-by")
_GROUPING = ("--backbone", EMBEDDED, "--classifier", "none")
"""Options of a command that only finds groups, offline and within seconds."""


def leaked_rows(
    request: TrainingRequest, split: Split, prints: Fingerprints, features: NDArray[np.float32] | None, grouped: bool
) -> NDArray[np.bool_]:
    """Return which test images (without a test set: validation images) have a near-duplicate among the training images.

    They are reported, and written to leaks.csv with a command that puts near-duplicates into one part. Of more than
    20,000 images only digests and hashes are compared, which is reported, too.

    Parameters
    ----------
    request : TrainingRequest
    split : Split
    prints : Fingerprints
        In the order of the split.
    features : ndarray of shape (n, width), float32, optional
        In the same order.
    grouped : bool
        Whether the split keeps groups together, so that the command must not group in another way.
    """
    run, progress = request.run, request.progress
    part = "test" if "test" in split.counts() else "val"
    if part not in split.counts():
        return np.zeros(len(split.rows), bool)
    if not prints.has_small:
        progress.note(
            f"near-duplicates: of {len(split.rows)} images only identical files and images with equal hashes are "
            f"compared across parts. To compare all: transfer-cli leaks {shell_command(run.path)}"
        )
    duplicates = held_out_copies(split, prints, features)
    leaked = _leaked(duplicates, split, part)
    pairs = tuple(leak for leak in leaking_pairs(duplicates, split) if leak.across_splits)
    if not pairs:
        return leaked
    Leaks(pairs, (), "", None, None, ()).write(run.leaks)
    count, held = int(leaked.sum()), int(split.mask(part).sum())
    command = _mending_command(request, split, duplicates, grouped)
    run.log(LEAKAGE_EVENT, part=part, images=count, command=command)
    if count:
        rows = [pair for pair in pairs if part in (pair.a.part, pair.b.part)]
        examples = "; ".join(f"{pair.a.path} = {pair.b.path}" for pair in rows[:3]) + ("; ..." if rows[3:] else "")
        other = "training or validation" if part == "test" and "val" in split.counts() else "training"
        progress.warn(
            f"data leakage: {count} of {counted(held, f'{_NAMES[part]} image')} have a near-duplicate in the {other} "
            f"set, so the score is too high: {examples} (listed in {run.leaks})"
        )
    return leaked


def _leaked(duplicates: Duplicates, split: Split, part: str) -> NDArray[np.bool_]:
    if part == "test":
        paths = {*leaked_test_images(duplicates, split)}
    else:
        part_of = {row.path: row.part for row in split.rows}
        groups = [group for group in duplicates.groups if any(part_of[path] == "train" for path in group)]
        paths = {path for group in groups for path in group}
    return np.array([row.part == part and row.path in paths for row in split.rows], bool)


def _mending_command(request: TrainingRequest, split: Split, duplicates: Duplicates, grouped: bool) -> str | None:
    """Return a command that keeps near-duplicates in one part; None if the groups of the split leave no way.

    Where the program decides the parts, it groups near-duplicates. Where the folder, or another split, decides them,
    near-duplicates of training images become training images. If a class would have no held-out image left, all images
    are distributed anew.
    """
    run = request.run
    # The run of a bag, or of a repeat, is inside of the folder that the command names.
    place = run.path.parents[1] if run.path.parent.name == run.bags.name else run.path
    words = _without(_REPLACED, request.command or ["transfer-cli", "extract", str(request.folder.source)])
    if split.made_by == "digest" and not grouped and "auto" not in words[:2]:
        place = place.parent if is_repeat(place) else place
        return shell_command(*[*words, "--group-by", NEAR_DUPLICATES, "-o", f"{place}-grouped"])
    # On one split there is nothing to repeat.
    words = _without(("--repeats",), words)
    clean = _clean_split(split, duplicates)
    if grouped and clean.counts().keys() != split.counts().keys():
        return None
    if grouped or _held_out_classes(clean) == _held_out_classes(split):
        clean.write(run.clean_split)
        return shell_command(*[*words, "--split", str(run.clean_split), "-o", f"{place}-without-leaks"])
    split.write_labels(run.labels)
    table = ["transfer-cli", "extract", str(run.labels), "--images", str(request.folder.root)]
    groups = RunDirectory(place.with_name(f"{place.name}-groups"))
    if "val" in split.counts():
        table += ["--set", f"split.val={PartsWithVal().val}"]
    find = [*table, *_GROUPING, "--group-by", NEAR_DUPLICATES, "-o", str(groups.path)]
    train = [*words, "--split", str(groups.split), "-o", f"{place}-grouped"]
    return f"{shell_command(*find)} && {shell_command(*train)}"


def _held_out_classes(split: Split) -> set[tuple[str, str]]:
    return {(row.part, label) for row in split.rows if row.part != "train" for label in row.labels or ("",)}


def _clean_split(split: Split, duplicates: Duplicates) -> Split:
    """Return the split with each group of near-duplicates in the first of its parts."""
    part_of = {row.path: row.part for row in split.rows}
    for group in duplicates.groups:
        part_of |= dict.fromkeys(group, min((part_of[path] for path in group), key=PARTS.index))
    return replace(split, rows=tuple(replace(row, part=part_of[row.path]) for row in split.rows))


def _without(options: Sequence[str], command: Sequence[str]) -> list[str]:
    """Return a command without some options that take a value, and without ``--overwrite``."""
    attached = tuple(option if option == "-o" else f"{option}=" for option in options)
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in options:
            next(words, None)
        elif word != "--overwrite" and not word.startswith(attached):
            kept.append(word)
    return kept
