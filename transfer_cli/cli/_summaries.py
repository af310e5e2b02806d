"""What a person is told at the end of a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transfer_cli.cli._console import Console
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.metrics.confusion import Confusion
from transfer_cli.metrics.scores import recalls_in_words, summary, worst_in_words

if TYPE_CHECKING:
    from transfer_cli.evaluation.evaluate import Evaluation
    from transfer_cli.explain.explain import Explanations
    from transfer_cli.runs.request import TrainingResult
    from transfer_cli.runs.run_directory import RunDirectory

_SAID_ONE_BY_ONE = 10


def end_of_training(console: Console, result: TrainingResult) -> int:
    """Say what came out, where it is and what to try next; return the exit code."""
    run = result.run
    if result.was_complete:
        console.note("this run is complete: nothing was done")
    for part, figures in result.metrics.items():
        note = f", {result.val_note}" if part == "val" and result.val_note else ""
        console.note(summary(part, figures, note))
    for line in _confused(run, [*result.metrics][-1:]):
        console.note(line)
    if result.is_uneven and (last := [*result.metrics][-1:]):
        console.note(recalls_in_words(last[0], result.metrics[last[0]]))
    if result.skipped:
        console.warn(f"{len(result.skipped)} pictures could not be read: {run.skipped} says why")
    if run.model.is_dir():
        console.note(f"next: transfer-cli predict {shlex.quote(str(run.path))} YOUR_PICTURES --format table")
    else:
        console.note(f"features: {run.features}")
    facts = {"run": str(run.path), "metrics": result.metrics, "skipped": len(result.skipped)}
    console.result(str(run.path), facts)
    return DONE_WITH_SKIPPED if result.skipped else DONE


def end_of_ensemble(console: Console, result: TrainingResult) -> int:
    """Say how the ensemble does beside its members, and then what is said of every run; return the exit code."""
    if result.run.members.is_file():
        from transfer_cli.ensembling.member_comparison import MemberComparison

        for line in MemberComparison.read(result.run.members).summary():
            console.note(line)
    return end_of_training(console, result)


def end_of_bagging(console: Console, result: TrainingResult) -> int:
    """Say how the bags do together beside each alone, and then what is said of every run; return the exit code."""
    if result.run.members.is_file():
        from transfer_cli.ensembling.member_comparison import MemberComparison

        for line in MemberComparison.read(result.run.members).summary_short():
            console.note(line)
    return end_of_training(console, result)


def _confused(run: RunDirectory, parts: Sequence[str]) -> list[str]:
    """Return the lines about the most confused pairs of some parts; several labels a picture have none."""
    tables = [(part, run.confusion(part)) for part in parts]
    return [line for part, path in tables if path.is_file() and (line := Confusion.read(path).summary(part))]


def end_of_evaluation(console: Console, found: Evaluation) -> int:
    """Say how good a model is on some pictures, and where that was written; return the exit code."""
    place, judged = found.directory, found.judged
    for item in found.skipped:
        console.warn(f"skipped {item.path}: {item.reason}")
    for part, figures in found.metrics.items():
        console.note(summary(part, figures))
    for said in found.gain.summary() if found.gain else ():
        console.note(said)
    for warning in (*_flattered(found), *_silent(found)):
        console.warn(warning)
    if figures := found.metrics.get(judged, {}):
        console.note(worst_in_words(judged, figures))
        if judged in found.confusions and (line := found.confusions[judged].summary(judged)):
            console.note(line)
    facts = {
        "output": str(place.path),
        "metrics": found.metrics,
        "learnt": found.learnt,
        "chosen": found.chosen,
        "learnt_is_known": found.is_known,
        **({"gain": found.gain.to_dict()} if found.gain else {}),
        "classes_without_pictures": list(found.classes_without(next(iter(found.metrics)))),
        "skipped": [{"path": item.path, "reason": item.reason} for item in found.skipped],
    }
    console.result(str(place.path), facts)
    return DONE_WITH_SKIPPED if found.skipped else DONE


def _flattered(found: Evaluation) -> list[str]:
    """Return what keeps the score from being one of new pictures."""
    said = []
    if not found.is_known:
        said.append(
            "it is not known what this model has learnt from: if these pictures are among that, the score is worth "
            "nothing"
        )
    if not found.learnt and not found.chosen:
        return said
    without = found.metrics.get(found.judged, {}).get("accuracy")
    honest = f"; without them the accuracy is {without['value']:.3f}" if without else ""
    by = "(epoch, temperature, thresholds or what it rejects)"
    if found.judged not in found.metrics:
        learnt, chosen = "all" if not found.chosen else str(found.learnt), "the rest"
    else:
        learnt, chosen = str(found.learnt), str(found.chosen)
    words = f"the run has learnt from {learnt} of these pictures"
    if found.chosen:
        words += f" and was chosen by {chosen} {by}"
    return [*said, f"{words}, which flatters the score{honest}"]


def _silent(found: Evaluation) -> list[str]:
    """Return of which classes the score says nothing."""
    said, known = [], set[str]()
    for part, kind in ((next(iter(found.metrics)), ""), (found.judged, "unseen ")):
        if names := [name for name in found.classes_without(part) if name not in known]:
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            said.append(
                f"no {kind}picture of {shown}: this score says nothing of {'it' if len(names) == 1 else 'them'}"
            )
        known |= {*names}
    return said


def megabytes(size: int) -> str:
    """Return bytes for a person, in MB or GB of 10^6 and 10^9."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"


def end_of_prediction(
    console: Console, rows: int, skipped: Sequence[Skipped], output: Path | None, unknown: int | None = None
) -> int:
    """Say how many rows were written, how many are unknown and what was skipped; return the exit code."""
    for item in skipped:
        console.warn(f"skipped {item.path}: {item.reason}")
    rejected = "" if unknown is None else f", {unknown} of them unknown"
    console.note(f"{rows} pictures predicted{rejected}, {len(skipped)} skipped")
    if output:
        facts = {
            "output": str(output),
            "rows": rows,
            **({} if unknown is None else {"unknown": unknown}),
            "skipped": [{"path": item.path, "reason": item.reason} for item in skipped],
        }
        console.result(str(output), facts)
    return DONE_WITH_SKIPPED if skipped else DONE


def end_of_explanation(console: Console, made: Explanations) -> int:
    """Say what the maps are worth, where they are and what was skipped; return the exit code."""
    for item in made.skipped:
        console.warn(f"skipped {item.path}: {item.reason}")
    for row in made.rows[:_SAID_ONE_BY_ONE]:
        console.note(row.summary())
    if len(made.rows) > _SAID_ONE_BY_ONE:
        console.note(f"and {len(made.rows) - _SAID_ONE_BY_ONE} more, in {made.table}")
    believable = sum(row.belief.is_believable for row in made.rows)
    if len(made.rows) > 1:
        console.note(f"{believable} of {len(made.rows)} maps to be believed: better than chance, of a class it sees")
    facts = {
        "output": str(made.target),
        "explanations": made.to_dict(),
        "skipped": [vars(item) for item in made.skipped],
    }
    console.result(str(made.target), facts)
    return DONE_WITH_SKIPPED if made.skipped else DONE
