"""``transfer-cli compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._types import PATH
from transfer_cli.text import counted

if TYPE_CHECKING:
    from transfer_cli.evaluation.comparison import Comparison
    from transfer_cli.metrics.intervals import MetricValue


@click.command("compare", short_help="Compare trained models, with a significance test.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=PATH, shell_complete=complete_models)
@click.option("--curves", type=PATH, metavar="FILE.png", help="Also draw the training curves over each other (PNG).")
@pass_console
def command(console: Console, /, runs: tuple[Path, ...], curves: Path | None) -> None:
    """Compare trained models on the same test images, with a significance test.

    RUN is a run (its test images are used) or a folder written by transfer-cli evaluate. All must contain the same
    images; they are matched by content. Each model is compared with the best one: difference in accuracy with a 95 %
    interval (paired bootstrap) and McNemar's exact test. With more than two runs, p-values are adjusted for multiple
    comparisons (Holm).

    \b
    Example:
        transfer-cli compare runs/photos-mobilenet_v2 runs/photos-mobilenet_v2-finetune
        transfer-cli compare runs/photos-mobilenet_v2-finetune runs/gentle --curves curves.png
        transfer-cli --json compare runs/one/evaluations/new runs/two/evaluations/new
    """
    from transfer_cli.evaluation.comparison import compare
    from transfer_cli.evaluation.paired_predictions import ModelPredictions

    if len(runs) < 2:
        raise click.UsageError("Expected at least two runs to compare. Received: 1.")
    if curves:
        _draw_curves(console, runs, curves)
    with console.track("comparing", None):
        comparison = compare([ModelPredictions.read(path) for path in runs])
    _print_notes(console, comparison)
    numeric = ("accuracy", "macro F1", "log loss", "p-value")
    header = ("run", "accuracy", "95 % interval", "macro F1", "log loss", "accuracy below best", "p-value", "result")
    console.table(header, [_row(comparison, name) for name in comparison.metrics], _to_json(comparison), numeric)


def _draw_curves(console: Console, runs: tuple[Path, ...], target: Path) -> None:
    """Draw the training curves, which needs no common test images."""
    from transfer_cli.evaluation.training_curves import draw_curves_of_runs
    from transfer_cli.rendering.png_provenance import COMPARE, check_png_target
    from transfer_cli.runs.completed_run import FinishedRun

    check_png_target(target, COMPARE)
    finished = [FinishedRun.read(path) for path in runs]
    with console.track("drawing the training curves", None):
        draw_curves_of_runs([path.name or str(path) for path in runs], finished, target)
    console.note(f"training curves: {target}")


def _print_notes(console: Console, comparison: Comparison) -> None:
    if used := comparison.left_out:
        listed = ", ".join(used[:3]) + (", ..." if len(used) > 3 else "")
        console.warn(f"left out: {counted(len(used), 'image')} used to train or select one of the models: {listed}")
    console.note(f"{counted(comparison.images, 'image')} ({comparison.part}), the same for all models")
    if comparison.moved:
        console.note(f"{comparison.moved} of them have different paths in the runs and were matched by content")
    if len(comparison.pairs) > 1:
        count = len(comparison.pairs)
        console.note(f"p-values are adjusted for {count} comparisons (Holm); the intervals are not adjusted")


def _row(comparison: Comparison, name: str) -> list[str]:
    metrics = comparison.metrics[name]
    row = [name, f"{metrics['accuracy']['value']:.3f}", _interval(metrics["accuracy"])]
    row += [f"{metrics[metric]['value']:.3f}" for metric in ("macro_f1", "log_loss")]
    if name == comparison.best:
        others = [other for other in comparison.leading if other != name]
        return [*row, "", "", f"same accuracy as {', '.join(others)}" if others else "best"]
    pair = comparison.pair(name, comparison.best)
    difference = pair.differences["accuracy"]
    return [*row, f"{difference['value']:.3f} ({_interval(difference)})", f"{pair.p_adjusted:.2g}", pair.verdict()]


def _interval(metric: MetricValue) -> str:
    return "-" if metric["low"] is None else f"{metric['low']:.3f} to {metric['high']:.3f}"


def _to_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "images": comparison.images,
        "split": comparison.part,
        "best": comparison.best if len(comparison.leading) == 1 else None,
        "leading": list(comparison.leading),
        "moved": comparison.moved,
        "runs": comparison.metrics,
        "pairs": [
            {"better": pair.better, "other": pair.other, **pair.differences}
            | {"p": pair.p, "p_adjusted": pair.p_adjusted, "verdict": pair.verdict()}
            for pair in comparison.pairs
        ],
        "left_out": list(comparison.left_out),
    }
