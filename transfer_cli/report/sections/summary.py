"""The head of the report: a run in a few sentences and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.scores import value_text
from transfer_cli.rendering.html import percent
from transfer_cli.report.confusion_cells import Table, mistakes_in
from transfer_cli.report.context import ReportContext
from transfer_cli.report.run_facts import SPLIT_NAMES, RunFacts
from transfer_cli.text import counted, printable


@dataclass(frozen=True)
class Summary:
    """The head of the page.

    Attributes
    ----------
    heading : str
    sentences : sequence of str
    key_values : sequence of (str, str, str)
        Label, value and note.
    """

    heading: str
    sentences: Sequence[str]
    key_values: Sequence[tuple[str, str, str]]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the summary of a run."""
        facts, part = context.facts, context.part
        scores, metrics, described = facts.scores[part], context.run.metrics[part], context.described(part)
        heading = f"{scores.correct.sum()} of {described} classified correctly ({percent(scores.accuracy, 0)})"
        if context.is_multi_label:
            heading = f"Mean average precision {value_text(metrics['mean_average_precision'])} on {described}"
        texts = [*sentences(facts, part), *ensemble_sentences(context.members)]
        return cls(heading, texts, [*key_values(facts, part, metrics, context.tables[part])])


def sentences(facts: RunFacts, part: str) -> list[str]:
    """Return how the model was made, and how good it is on a split."""
    scores = facts.scores[part]
    trained = int(facts.images["train"].sum()) + (int(facts.images["val"].sum()) if facts.history.is_refit else 0)
    interval = f"(95 % interval {percent(scores.low)} to {percent(scores.high)})"
    if scores.confusion is None:
        labels = f"with {counted(len(facts.class_names), 'label')}"
        result = f"All labels are correct for {percent(scores.accuracy)} of the images {interval}."
    else:
        labels = f"of {counted(len(facts.class_names), 'class')}"
        largest, baseline = scores.majority_class()
        result = (
            f"The accuracy is {percent(scores.accuracy)} {interval}. Always predicting the largest class, "
            f"{facts.class_names[largest]}, would reach {percent(baseline)}."
        )
    return [f"{_method(facts)} on {counted(trained, 'image')} {labels}. {_evaluation(facts, part)}", result]


def ensemble_sentences(members: MemberComparison | None) -> list[str]:
    """Return whether an ensemble is better than its best member; nothing if it was not evaluated."""
    if members is None or not members.part:
        return []
    best = max(members.rows, key=lambda row: row.accuracy["value"])
    low, high = best.gain["low"], best.gain["high"]
    gain = _points(best.gain["value"])
    if low is not None and high is not None:
        gain += f" (95 % interval {_points(low)} to {_points(high)})"
        gain += ", which may be chance" if low <= 0 <= high else ""
    return [
        f"On {counted(members.images, f'{SPLIT_NAMES[members.part]} image')} the best member, {printable(best.name)}, "
        f"has an accuracy of {percent(best.accuracy['value'])}; the ensemble is {gain}. The ensemble takes "
        f"{members.cost.milliseconds:.1f} ms/image, this member {best.cost.milliseconds:.1f} ms/image."
    ]


def key_values(
    facts: RunFacts, part: str, metrics: Mapping[str, MetricValue], table: Table
) -> Iterable[tuple[str, str, str]]:
    """Yield label, value and note of further results."""
    scores = facts.scores[part]
    if "mean_average_precision" in metrics:
        yield "Mean average precision", f"{value_text(metrics['mean_average_precision'])}", f"on {part}"
    for other, of_other in facts.scores.items():
        if other != part:
            name = "Accuracy" if scores.confusion is not None else "All labels correct"
            where = ", cross-validated" if facts.is_cross_validated(other) else f" on {other}"
            yield name + where, percent(of_other.accuracy), counted(of_other.images, facts.noun(other))
    recall = scores.recall
    if np.isfinite(recall).any():
        for label, place in ("Lowest recall", np.nanargmin(recall)), ("Highest recall", np.nanargmax(recall)):
            note = f"{scores.correct[place]} of {scores.support[place]} correct, {percent(recall[place], 0)}"
            yield label, facts.class_names[place], note
    for cell in mistakes_in(table)[:1]:
        yield "Most frequent mistake", cell.title, f"{cell.count} of {cell.total}, {percent(cell.share, 0)}"


def _method(facts: RunFacts) -> str:
    """Return how the model was trained, up to "on 36 images"."""
    network = facts.setting("backbone.name", "the network")
    if facts.method == ENSEMBLE:
        count = counted(len(facts.setting("member", ())), "model")
        networks = f" ({', '.join(facts.networks)})" if facts.networks else ""
        how = ensemble_methods.find(facts.setting("ensemble.method", ensemble_methods.AVERAGE)).summary.rstrip(".")
        return f"An ensemble of {count}{networks}, combined as follows: {how[0].lower()}{how[1:]}. All were trained"
    if facts.method == "extract":
        return f"The fixed network {network} computes features; a classifier on these features was trained"
    if facts.from_scratch:
        return f"The network {network} was trained from scratch"
    return f"The pretrained network {network} was fine-tuned"


def _evaluation(facts: RunFacts, part: str) -> str:
    """Return which images the model is evaluated on, and whether they were used in the training."""
    images = counted(facts.scores[part].images, facts.noun(part))
    if part == "test":
        return f"It is evaluated here on {images}, which were not used for training or selection."
    if facts.out_of_fold:
        return (
            f"There is no test set, so it is evaluated here by cross-validation: each of {images} was predicted by a "
            "classifier that was trained without it."
        )
    optimistic = f"It is evaluated here on {images}. They were also used to choose"
    if facts.method == ENSEMBLE:
        return (
            f"{optimistic} the settings of its members, so the score is slightly optimistic. The parameters of the "
            "ensemble were fitted by cross-validation."
        )
    refit = "The predictions are from before the refit on training and validation images."
    return (
        f"{optimistic} its settings, so the score is slightly optimistic. "
        f"{refit if facts.history.is_refit else 'It was not trained on them.'}"
    )


def _points(gain: float) -> str:
    return f"{100 * abs(gain):.1f} points {'better' if gain >= 0 else 'worse'}"
