"""Read the facts about a finished run from its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transfer_cli.audit.leakage import Leak, Leaks
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import backbones
from transfer_cli.data.decoding import stored_size
from transfer_cli.data.skipped import Skipped, read_skipped
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.regular_file import read_regular_text
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.run_facts import Counts, PartScores, RunFacts
from transfer_cli.runs.completed_run import FinishedRun, PartPredictions
from transfer_cli.runs.earlier_images import count_trained_earlier
from transfer_cli.runs.selection_tables import table_options

_MEASURED_IMAGES = 200


def read_run_facts(
    run: FinishedRun,
    parts: Mapping[str, PartPredictions],
    history: TrainingHistory,
    thresholds: Sequence[float] | None,
    *,
    leaks: Leaks | None = None,
    missing_images: int = 0,
    members: Sequence[ModelBundle] = (),
) -> RunFacts:
    """Return the facts about a run.

    Parameters
    ----------
    run : FinishedRun
    parts : dict of str to PartPredictions
    history : TrainingHistory
    thresholds : sequence of float or None
        Per label, in a multi-label task.
    leaks : Leaks, optional
    missing_images : int
        Images of the report that cannot be read any more.
    members : sequence of ModelBundle
        Of an ensemble, whose own recipe does not name their networks.
    """
    rows, command = run.split.rows, run.directory.command
    trained = {row.sha256 for row in rows if row.part == "train"}
    return RunFacts(
        method=run.recipe.get("method", "extract"),
        run=str(run.directory.path),
        folder=read_regular_text(run.directory.folder).strip(),
        class_names=run.split.class_names,
        images={part: _counts(run, part) for part in PARTS},
        scores={
            part: PartScores.of(of.truth, of.predictions.probabilities, run.metrics[part], thresholds)
            for part, of in parts.items()
        },
        recipe=run.recipe,
        command=read_regular_text(command).strip() if command.is_file() else "",
        from_scratch=not _is_pretrained(run),
        out_of_fold="val" in parts and not run.split.mask("val").any(),
        history=history,
        exact_duplicates=sum(row.part != "train" and row.sha256 in trained for row in rows),
        near_duplicates=_near_duplicates_of_train(leaks.across_splits) if leaks else 0,
        trained_earlier=count_trained_earlier(run.directory, run.split),
        conflicting_pairs=len(leaks.across_classes) if leaks else 0,
        skipped=len(skipped_files(run)),
        missing_images=missing_images,
        short_sides=_short_sides(run),
        image_size=run.recipe.get("images", {}).get("size") or min((each.image_size for each in members), default=224),
        networks=tuple(dict.fromkeys(str(each.backbone["name"]) for each in members)),
        tables=tuple(table_options(run.directory)),
    )


def skipped_files(run: FinishedRun) -> tuple[Skipped, ...]:
    """Return the files that could not be read in the training."""
    path = run.directory.skipped
    return read_skipped(path) if path.is_file() else ()


def _near_duplicates_of_train(pairs: Iterable[Leak]) -> int:
    """Return the number of validation and test images with a near-duplicate in the training set."""
    near = ((pair.a, pair.b) for pair in pairs if pair.kind == "near" and "train" in (pair.a.part, pair.b.part))
    return len({row.path for rows in near for row in rows if row.part != "train"})


def _counts(run: FinishedRun, part: str) -> Counts:
    truth = run.split.truth()[run.split.mask(part)]
    return truth.sum(axis=0) if truth.ndim == 2 else np.bincount(truth, minlength=len(run.split.class_names))


def _is_pretrained(run: FinishedRun) -> bool:
    networks: list[Mapping[str, Any]] = []
    if "backbone" in run.recipe:
        networks = [run.recipe["backbone"]]
    elif run.directory.model.is_dir():
        networks = [leaf.backbone for leaf in ModelBundle.open(run.directory.path).leaves()]
    # A file and an earlier run were trained before, whatever the network is.
    names = [str(each["name"]) for each in networks if "preprocess" not in each and "ancestors" not in each]
    return all(backbones.row_of(name).is_pretrained for name in names)


def _short_sides(run: FinishedRun) -> Counts:
    rows = run.split.rows
    sample = [rows[place].path for place in np.unique(np.linspace(0, len(rows) - 1, _MEASURED_IMAGES).astype(int))]
    sizes = [stored_size(run.root / path) for path in sample]
    return np.array([min(size) for size in sizes if size], np.int64)
