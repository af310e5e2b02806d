"""``transfer-cli compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.errors import DONE

if TYPE_CHECKING:
    from transfer_cli.evaluation.comparison import Comparison
    from transfer_cli.metrics.intervals import Figure


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, /, runs: tuple[Path, ...]) -> None:
    """Say which run is better, and whether the pictures can tell.

    RUN is a run, whose test part is taken, or an evaluation that transfer-cli evaluate wrote. All must be about the
    same pictures, wherever these lie. The difference of every other one to the best has a paired bootstrap interval,
    and is judged by McNemar's exact test; of more than two runs the p-values are Holm's, over all pairs.

    \b
    Example:
        transfer-cli compare runs/photos-mobilenet_v2 runs/photos-mobilenet_v2-finetune
        transfer-cli --json compare runs/one/evaluations/new runs/two/evaluations/new
    """
    from transfer_cli.evaluation.comparison import compare
    from transfer_cli.evaluation.paired_predictions import ModelPredictions

    console = ctx.ensure_object(Console)
    if len(runs) < 2:
        raise click.UsageError("Expected two runs or more.", ctx)
    with console.track("comparing", None):
        found = compare([ModelPredictions.read(path) for path in runs])
    if found.left_out:
        shown = ", ".join(found.left_out[:3]) + (", ..." if len(found.left_out) > 3 else "")
        console.warn(
            f"left out: {len(found.left_out)} pictures that one of them has learnt from or was chosen by: {shown}"
        )
    console.note(f"{found.images} pictures ({found.part}), the same for all")
    if found.elsewhere:
        console.note(f"{found.elsewhere} of them lie elsewhere for one of the runs: matched by their content")
    if len(found.pairs) > 1:
        console.note(f"p-values are adjusted for {len(found.pairs)} pairs (Holm); each interval is for itself")
    header = ("run", "accuracy", "95 % interval", "macro F1", "log loss", "less than the best", "p", "verdict")
    console.table(header, [_row(found, name) for name in found.figures], _facts(found))
    ctx.exit(DONE)


def _row(found: Comparison, name: str) -> list[str]:
    figures = found.figures[name]
    row = [name, f"{figures['accuracy']['value']:.3f}", _interval(figures["accuracy"])]
    row += [f"{figures[word]['value']:.3f}" for word in ("macro_f1", "log_loss")]
    if name == found.best:
        others = [other for other in found.leading if other != name]
        return [*row, "", "", f"as many right as {', '.join(others)}" if others else "the best"]
    pair = found.against_best(name)
    difference = pair.differences["accuracy"]
    return [*row, f"{difference['value']:.3f} ({_interval(difference)})", f"{pair.p_adjusted:.2g}", pair.verdict()]


def _interval(figure: Figure) -> str:
    return "-" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}"


def _facts(found: Comparison) -> dict[str, Any]:
    return {
        "images": found.images,
        "part": found.part,
        "best": found.best if len(found.leading) == 1 else None,
        "leading": list(found.leading),
        "elsewhere": found.elsewhere,
        "runs": found.figures,
        "pairs": [
            {
                "better": pair.better,
                "other": pair.other,
                **pair.differences,
                "p": pair.p,
                "p_adjusted": pair.p_adjusted,
                "verdict": pair.verdict(),
            }
            for pair in found.pairs
        ],
        "left_out": list(found.left_out),
    }
