"""``transfer-cli rank``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import (
    Duration,
    Words,
    cache_of,
    cache_option,
    candidate_options,
    runtime_option,
    seed_option,
)
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED, InputError

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.ranking.results import CandidateScore, Ranking, RankingDirectory

_METHODS = ("extract", "finetune")


@click.command("rank")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="[runs/rank-FOLDER]")
@candidate_options
@click.option("--weights", type=Words(), metavar="WORDS", help="imagenet,embedded,none.  [what each begins with]")
@click.option("--max-images", type=click.IntRange(min=4), metavar="N", help="Compare by so many at most.  [2000]")
@click.option("--score", "by", type=click.Choice(["probe", "logme"]), help="logme fits no classifier.  [probe]")
@click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), metavar="MS", help="The longest for a picture.")
@click.option("--max-mb", type=click.FloatRange(min=0, min_open=True), metavar="MB", help="The largest weights.")
@click.option("--time-budget", type=Duration(), metavar="TIME", help="Begin no candidate after 90s, 10m or 1h30m.")
@click.option("--pick", type=click.Choice(_METHODS), help="Train the winner, by the default recipe.")
@click.option("--group-by", metavar="REGEX", help="Keep pictures together whose paths agree in this.")
@click.option("--split", type=click.Path(), metavar="FILE", help="Follow the parts in a split.csv.")
@seed_option(default=0)
@click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read.")
@runtime_option
@cache_option
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Say which backbone to start from.

    On the features of each backbone a classifier is cross-validated, on pictures of FOLDER that are not test; beside
    its score stand the time for a picture on this machine and the size of the weights. Those that no other one beats
    at the same cost are the Pareto front. What was found is kept: the same command goes on where it was stopped.

    \b
    Example:
        transfer-cli rank photos
        transfer-cli rank photos --among 'mobilenet*,resnet50' --download --max-ms 20
        transfer-cli rank photos --weights imagenet,none --pick extract
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.data.split import Split
    from transfer_cli.ranking.results import RankingDirectory

    console = ctx.ensure_object(Console)
    images = ImageFolder.scan(folder)
    place = RankingDirectory(output) if output else RankingDirectory.default(images.name)
    given = {
        "among": options["among"],
        "weights": options["weights"],
        "images": options["max_images"],
        "by": options["by"],
        "runtime": options["runtime"],
    }
    shared = {
        "split": Split.read(Path(options["split"])) if options["split"] else None,
        "offline": console.offline,
        "strict": options["strict"],
        "cache": cache_of(options),
        "progress": console,
    }

    from transfer_cli.ranking.rank import rank

    ranking = rank(
        images,
        place,
        max_ms=options["max_ms"],
        max_mb=options["max_mb"],
        seconds=options["time_budget"],
        download=options["download"],
        group_by=options["group_by"],
        seed=options["seed"],
        **{word: value for word, value in given.items() if value is not None},
        **shared,
    )
    _say(console, ranking, place)
    if options["pick"]:
        ctx.exit(_train(console, images, ranking, folder, options, shared))
    if ranking.best is not None:
        console.note(f"next: {_next(folder, ranking.best, options, 'extract')}")
    console.result(str(place.path), {"output": str(place.path), **ranking.to_dict()})
    ctx.exit(DONE_WITH_SKIPPED if ranking.skipped else DONE)


def _say(console: Console, ranking: Ranking, place: RankingDirectory) -> None:
    """Say the table and what to make of it."""
    several = any(row.mean_average_precision is not None for row in ranking.rows)
    score = "mean AP" if several else "accuracy"
    header = ("", "backbone", "log loss", score, "95 % interval", "LogME", "ms", "parameters", "MB", "front", "")
    shown = [_row(ranking, row, several) for row in ranking.rows]
    if not console.quiet:
        for line in console.columns(header, shown):
            console.say(line)
    if ranking.skipped:
        console.warn(f"{len(ranking.skipped)} pictures could not be read: {place.ranking} says why")
    best, cheaper = ranking.best, ranking.cheaper
    if best is None:
        console.warn("none of them can be picked: the last column says why")
        return
    if len(ranking.within_noise) > 1:
        quick = f"; the quickest of them: {cheaper.name}" if cheaper else ""
        console.note(f"~ as many right as *, as far as {ranking.images} pictures can tell{quick}")
    console.note(f"best: {best.name}; plot: {place.plot}")


def _row(ranking: Ranking, row: CandidateScore, several: bool) -> list[str]:
    mark = "*" if row is ranking.best else "~" if row.candidate in ranking.within_noise else ""
    fronts = [
        word for word, cost in (("ms", "milliseconds"), ("MB", "megabytes")) if row.candidate in ranking.front(cost)
    ]
    figure = row.accuracy or {"value": None, "low": None, "high": None}
    value = row.mean_average_precision if several else figure["value"]
    low, high = figure["low"], figure["high"]
    return [
        mark,
        row.name,
        _number(row.log_loss, 3),
        _number(value, 3),
        "-" if several or low is None or high is None else f"{low:.3f} to {high:.3f}",
        _number(row.logme, 3),
        _number(row.milliseconds, 2),
        f"{row.candidate.parameters:,}",
        f"{row.megabytes:.1f}",
        ", ".join(fronts),
        row.left_out,
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _words(row: CandidateScore, options: dict[str, Any]) -> dict[str, Any]:
    """Return the words of a recipe that begins with a candidate as it was ranked."""
    others = {"seed": options["seed"], "inference.runtime": options["runtime"], "split.group_by": options["group_by"]}
    return row.candidate.words | others


def _next(folder: Path, best: CandidateScore, options: dict[str, Any], method: str) -> str:
    """Return what to type to train a candidate."""
    typed = ["transfer-cli", method, str(folder), "--backbone", best.candidate.backbone]
    if best.candidate.weights != best.candidate.spec.weights:
        typed += ["--weights", best.candidate.weights]
    for word in ("runtime", "group_by", "split", "seed"):
        if options[word]:
            typed += [f"--{word.replace('_', '-')}", str(options[word])]
    return shlex.join(typed)


def _train(
    console: Console,
    images: ImageFolder,
    ranking: Ranking,
    folder: Path,
    options: dict[str, Any],
    shared: dict[str, Any],
) -> int:
    """Train the winner; return the exit code."""
    from transfer_cli.cli._summaries import end_of_training
    from transfer_cli.recipe.recipes import METHODS
    from transfer_cli.runs.run_directory import RunDirectory, default_path

    best, method = ranking.best, options["pick"]
    if best is None:
        raise InputError("There is no winner to train.", hint="Allow more: a higher --max-ms or --max-mb.")
    typed = _next(folder, best, options, method)
    console.note(f"picked: {typed}")
    recipe = METHODS[method].load(words=_words(best, options))
    ends = () if method == "extract" else (method,)
    run = RunDirectory(default_path(images.name, best.candidate.backbone, *ends))
    if method == "extract":
        from transfer_cli.training.extract import extract as train
    else:
        from transfer_cli.training.finetune import finetune as train  # type: ignore[assignment]
    return end_of_training(console, train(images, recipe, run, command=shlex.split(typed), **shared))  # type: ignore[arg-type]
