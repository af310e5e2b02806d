"""A run in a few sentences and figures, as the head of its page says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.metrics.scores import Figure
from transfer_cli.rendering.html import percent
from transfer_cli.report.confusion_cells import Cell
from transfer_cli.report.run_facts import RunFacts, Scored
from transfer_cli.text import counted, printable

Table = list[list[Cell | None]]


def sentences(case: RunFacts, part: str, scored: Scored) -> list[str]:
    """Return what was learnt from what, and how good that is."""
    learnt = int(case.images["train"].sum()) + (int(case.images["val"].sum()) if case.refit else 0)
    network = case.word("backbone.name", "the network")
    if case.method == ENSEMBLE:
        how = _of_members(case)
    elif case.method == "extract":
        how = f"{network}, unchanged, described each picture, and a classifier learnt from the descriptions"
    elif case.from_scratch:
        how = f"{network} was trained from scratch"
    else:
        how = f"{network}, which had seen other pictures before, was trained further"
    kind = "labels" if scored.confusion is None else "classes"
    first = (
        f"{how[0].upper()}{how[1:]} on {counted(learnt, 'picture')} of "
        f"{len(case.class_names)} {kind}. {_judged(case, part, scored)}"
    )
    if scored.confusion is None:
        second = (
            f"All labels of a picture are right for {percent(scored.accuracy)} of them "
            f"(95 % interval {percent(scored.low)} to {percent(scored.high)})."
        )
        return [first, second]
    largest, name = baseline(case, scored)
    second = (
        f"The accuracy is {percent(scored.accuracy)}; of pictures like these it lies between {percent(scored.low)} and "
        f"{percent(scored.high)} (95 % interval). Saying {name} to every picture would give {percent(largest)}."
    )
    return [first, second]


def _of_members(case: RunFacts) -> str:
    """Return what an ensemble is made of, and how its members answer as one."""
    members = case.word("member", ())
    networks = f" ({', '.join(case.networks)})" if case.networks else ""
    how = ensemble_methods.find(case.word("ensemble.method", ensemble_methods.AVERAGE)).summary.rstrip(".")
    return f"{counted(len(members), 'model')}{networks} answer as one ({how[0].lower()}{how[1:]}), all of them trained"


def together(company: MemberComparison | None) -> list[str]:
    """Return in a sentence whether an ensemble is better than its best member; nothing of another run."""
    if company is None or not company.part:
        return []
    best = max(company.rows, key=lambda row: row.accuracy["value"])
    gain = best.gain
    low, high = gain["low"], gain["high"]
    told = _points(gain["value"])
    if low is not None and high is not None:
        told += f" (95 % interval {_points(low)} to {_points(high)})"
        told += ", which may be chance" if low <= 0 <= high else ""
    return [
        f"On the {company.images} pictures of {company.part} the best of its members, {printable(best.name)}, has "
        f"{percent(best.accuracy['value'])} by itself, and the ensemble is {told}. It takes "
        f"{company.cost.milliseconds:.1f} ms a picture, that member {best.cost.milliseconds:.1f}."
    ]


def _points(gain: float) -> str:
    """Return a gain, which may be a loss, in words."""
    return f"{100 * abs(gain):.1f} points {'better' if gain >= 0 else 'worse'}"


def _of_what(case: RunFacts, part: str) -> str:
    """Return which pictures a figure of a part is of."""
    images = counted(case.scored[part].images, "picture")
    return f"{images} of train, out-of-fold" if part == "val" and case.out_of_fold else images


def _judged(case: RunFacts, part: str, scored: Scored) -> str:
    """Return by which pictures it is judged, and whether it has seen them."""
    by = counted(scored.images, "picture")
    if part == "test":
        return f"It is judged here by {by} of test, which it had never seen."
    if case.out_of_fold:
        return (
            f"There is no test part, so it is judged by out-of-fold answers: each of {by} of train was judged by a "
            "classifier that had learnt from the others only."
        )
    if case.method == ENSEMBLE:
        return (
            f"It is judged here by {by} of val, by which the settings of its members were chosen, which flatters a "
            "little. What was fitted to join them was fitted on other pictures than those it is judged by, in folds."
        )
    chosen = f"It is judged here by {by} of val, by which its settings were chosen, which flatters a little."
    if case.refit:
        return f"{chosen} These are the answers from before the refit, in which it learnt from val, too."
    return f"{chosen} It did not learn from them."


def stats(case: RunFacts, part: str, scored: Scored, figures: Mapping[str, Figure], table: Table) -> list[Any]:
    """Return label, value and note of the figures that a person asks for first."""
    found: list[tuple[str, str, str]] = []
    if "mean_average_precision" in figures:
        found.append(("Mean average precision", f"{figures['mean_average_precision']['value']:.3f}", f"on {part}"))
    for other, elsewhere in case.scored.items():
        if other != part:
            word = "Accuracy" if scored.confusion is not None else "All labels right"
            found.append((f"{word} on {other}", percent(elsewhere.accuracy), _of_what(case, other)))
    recall = scored.recall
    if np.isfinite(recall).any():
        least, most = int(np.nanargmin(recall)), int(np.nanargmax(recall))
        for label, place in (("Found least", least), ("Found best", most)):
            note = f"{scored.right[place]} of {scored.support[place]} found, {percent(recall[place], 0)}"
            found.append((label, case.class_names[place], note))
    mistakes = [cell for row in table for cell in row if cell and not cell.right]
    if mistakes:
        cell = max(mistakes, key=lambda cell: cell.count)
        found.append(("Most frequent mistake", cell.words, f"{cell.count} of {cell.of}, {percent(cell.share, 0)}"))
    return found


def ruler(case: RunFacts, part: str, scored: Scored) -> dict[str, Any]:
    """Return what the line from 0 to 100 % shows."""
    single = scored.confusion is not None
    share, name = baseline(case, scored) if single else (None, "")
    called = "accuracy" if single else "all labels right"
    words = (
        f"{called} on {part} {percent(scored.accuracy)}, 95 % interval {percent(scored.low)} to {percent(scored.high)}"
    )
    return {
        "name": called,
        "value": scored.accuracy,
        "low": scored.low,
        "high": scored.high,
        "baseline": share,
        "largest": name,
        "words": words + (f"; always saying {name}: {percent(share)}" if single else ""),
    }


def baseline(case: RunFacts, scored: Scored) -> tuple[float, str]:
    """Return the share of the largest class, and its name."""
    largest = int(scored.support.argmax())
    return float(scored.support[largest] / max(scored.images, 1)), case.class_names[largest]
