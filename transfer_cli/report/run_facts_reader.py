"""A finished run as a doctor wants to know it, gathered from its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from transfer_cli.audit.leakage import Leak, Leaks
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import backbones
from transfer_cli.data.decoding import size_of
from transfer_cli.data.image_folder import PARTS
from transfer_cli.data.skipped import Skipped, read_skipped
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.run_facts import RunFacts, scored
from transfer_cli.runs.completed_run import Answered, FinishedRun

_MEASURED = 200


def case_of(
    run: FinishedRun,
    parts: Mapping[str, Answered],
    course: TrainingHistory,
    thresholds: Sequence[float] | None,
    *,
    shared: Leaks | None = None,
    gone: int = 0,
    members: Sequence[ModelBundle] = (),
) -> RunFacts:
    """Return what is known of a run.

    Parameters
    ----------
    run : FinishedRun
    parts : dict of str to Answered
    course : Course
    thresholds : sequence of float or None
        Of a multi-label task.
    shared : Leaks or None
        What pictures of several parts or classes have in common, where that was looked for.
    gone : int
        Pictures that were looked for and could not be read.
    members : sequence of ModelBundle
        Of an ensemble; its own recipe says nothing of their networks.
    """
    names = run.split.class_names
    best, last = course.best, max((row.epoch for row in course.epochs if not row.refit), default=None)
    return RunFacts(
        method=run.recipe.get("method", "extract"),
        run=str(run.directory.path),
        folder=run.directory.folder.read_text("utf-8", "surrogateescape").strip(),
        class_names=names,
        images={part: _counts(run, part) for part in PARTS},
        scored={
            part: scored(answered.truth, answered.predictions.probabilities, run.metrics[part], thresholds)
            for part, answered in parts.items()
        },
        recipe=run.recipe,
        command=_command(run),
        from_scratch=not _is_pretrained(run),
        out_of_fold="val" in parts and not run.split.mask("val").any(),
        refit=any(row.refit for row in course.epochs),
        best=best.epoch if best else None,
        last=last,
        best_train=best.accuracy if best and best.val_accuracy is not None else None,
        stopped_early=course.count("early stop") > 0,
        budget_used_up=course.count("budget used up") > 0,
        halved=course.count("halved"),
        duplicates=len(duplicates(run)),
        near_duplicates=_outside_train(shared.across_parts) if shared else 0,
        two_classes=len(shared.across_classes) if shared else 0,
        skipped=len(skipped(run)),
        gone=gone,
        short_sides=_short_sides(run),
        image_size=run.recipe.get("images", {}).get("size") or min((each.image_size for each in members), default=224),
        networks=tuple(dict.fromkeys(str(each.backbone["name"]) for each in members)),
    )


def duplicates(run: FinishedRun) -> list[tuple[str, str]]:
    """Return the pictures of val and test that lie in train, too, to the byte, each with one of train."""
    learnt = {row.sha256: row.path for row in run.split.rows if row.part == "train"}
    return [(row.path, learnt[row.sha256]) for row in run.split.rows if row.part != "train" and row.sha256 in learnt]


def skipped(run: FinishedRun) -> tuple[Skipped, ...]:
    """Return the files that could not be read when the run was made."""
    path = run.directory.skipped
    return read_skipped(path) if path.is_file() else ()


def _outside_train(pairs: Iterable[Leak]) -> int:
    """Return how many pictures outside train are nearly the same as one of it."""
    near = [pair for pair in pairs if pair.kind == "near" and "train" in (pair.a.part, pair.b.part)]
    return len({row.path for pair in near for row in (pair.a, pair.b) if row.part != "train"})


def _counts(run: FinishedRun, part: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    truth = run.split.truth()[run.split.mask(part)]
    if truth.ndim == 2:
        return np.asarray(truth.sum(axis=0), np.int64)
    return np.bincount(truth, minlength=len(run.split.class_names)).astype(np.int64)


def _command(run: FinishedRun) -> str:
    path = run.directory.command
    return path.read_text("utf-8", "surrogateescape").strip() if path.is_file() else ""


def _is_pretrained(run: FinishedRun) -> bool:
    if "backbone" in run.recipe:
        names = [str(run.recipe["backbone"]["name"])]
    elif run.directory.model.is_dir():
        names = [leaf.backbone["name"] for leaf in ModelBundle.open(run.directory.path).leaves()]
    else:
        names = []
    return all(backbones.find(name).is_pretrained for name in names)


def _short_sides(run: FinishedRun) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rows = run.split.rows
    some = [rows[place].path for place in np.unique(np.linspace(0, len(rows) - 1, _MEASURED).astype(int))]
    sizes = [size_of(run.root / path) for path in some]
    return np.array([min(size) for size in sizes if size], np.int64)
