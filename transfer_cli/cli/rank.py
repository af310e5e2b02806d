"""``transfer-cli rank``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.cli._options import (
    bit_depth_option,
    cache_option,
    candidate_options,
    group_option,
    network_options,
    output_option,
    runtime_option,
    scan_images,
    seed_option,
    set_resume_hint,
    split_option,
    strict_option,
    table_options,
    time_budget_option,
    training_request,
)
from transfer_cli.cli._rank_layers import check_layer_options, rank_network_layers
from transfer_cli.cli._types import ABOVE_ZERO, PATH, comma_separated
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted, shell_command

if TYPE_CHECKING:
    from transfer_cli.ranking.ranking_directory import RankingDirectory
    from transfer_cli.ranking.results import CandidateScore, Ranking
    from transfer_cli.runs.request import TrainingRequest


@click.command("rank", short_help="Compare pretrained networks on your images.")
@click.argument("folder", type=PATH)
@table_options
@output_option(
    "DIR|FILE.png",
    "Folder to write, or with --layers the PNG file.  [runs/rank-FOLDER; plots/FOLDER-layers.png]",
)
@candidate_options
@click.option(
    "--weights",
    type=comma_separated,
    metavar="NAMES",
    help="Compare with these weights, comma-separated: imagenet, embedded, none.  [each network's default]",
)
@click.option("--max-images", type=click.IntRange(min=4), metavar="N", help="Use at most N images.  [2000]")
@click.option(
    "--score",
    "by",
    type=click.Choice(["probe", "logme"]),
    help="Score by cross-validated accuracy (probe) or by LogME, which is faster and less exact.  [probe]",
)
@click.option(
    "--max-ms",
    type=ABOVE_ZERO,
    metavar="MS",
    help="Skip networks slower than MS milliseconds per image.  [no limit]",
)
@click.option("--max-mb", type=ABOVE_ZERO, metavar="MB", help="Skip networks larger than MB megabytes.  [no limit]")
@time_budget_option("Start no further network after this time, e.g. 10m.  [no limit]")
@click.option("--layers", is_flag=True, help="Compare the layers of one network instead, from shallow to deep.")
@network_options
@group_option(near_duplicates=False)
@bit_depth_option
@split_option
@seed_option(default=0)
@strict_option
@runtime_option
@cache_option
@pass_console
def command(console: Console, /, folder: Path, output: Path | None, layers: bool, **options: Any) -> int:
    """Compare pretrained networks on your images and recommend one (accuracy, speed, size).

    FOLDER has one sub-folder of images per class, or is a CSV file (see extract). For each network a classifier on its
    features is cross-validated, without the test images; the table also has the time per image on this machine and the
    size of the weights. Networks that no other network beats at the same cost are marked (Pareto front). If the command
    is interrupted, run it again: finished networks are not repeated.

    With --layers, one network (--backbone) is run, and a classifier on the features of each of its layers is
    cross-validated. The table is printed, a plot is written.

    \b
    Example:
        transfer-cli rank photos
        transfer-cli rank photos --among 'mobilenet*,resnet50' --download --max-ms 20
        transfer-cli rank photos --weights imagenet,none
        transfer-cli rank photos --layers --backbone mobilenet@0.25
    """
    check_layer_options(options, layers)
    if layers:
        return rank_network_layers(console, folder, output, options)
    from transfer_cli.ranking.options import RankOptions
    from transfer_cli.ranking.ranking_directory import RankingDirectory
    from transfer_cli.runs.own_name import as_named, with_own_name
    from transfer_cli.runs.run_directory import RunDirectory

    set_resume_hint("Scores of finished networks are")
    images = scan_images(folder, options, group_by=options["group_by"])
    place = RankingDirectory(output) if output else RankingDirectory.default(images.name)
    names = ("among", "weights", "by", "runtime", "max_ms", "max_mb", "download", "group_by", "bit_depth", "seed")
    settings = {"images": options["max_images"], **{name: options[name] for name in names}}
    rank_options = RankOptions(**{name: value for name, value in settings.items() if value is not None})

    from transfer_cli.ranking.candidates import Candidates
    from transfer_cli.ranking.rank import rank
    from transfer_cli.ranking.smallest_budget import require_budget

    candidates = Candidates.select(
        rank_options.among, rank_options.weights, download=rank_options.download, offline=console.offline
    )
    require_budget(options["time_budget"], candidates.available, min(len(images.files), rank_options.images))

    def ranked(request: TrainingRequest) -> tuple[Ranking, RankingDirectory]:
        own = RankingDirectory(request.run.path)
        own.check_matches(images.source, rank_options.settings(request.split), request.command)
        return rank(request, rank_options), own

    named = with_own_name if output is None else as_named
    ranking, place = named(training_request(console, images, RunDirectory(place.path), options), ranked)
    _print_ranking(console, ranking, place)
    if ranking.best is not None:
        console.note(f"next: {_next_command(folder, ranking.best, options)}")
    console.output(place.path, **ranking.to_dict())
    return DONE_WITH_SKIPPED if ranking.skipped else DONE


def _print_ranking(console: Console, ranking: Ranking, place: RankingDirectory) -> None:
    """Print the table, the recommended network and those that are as good within the margin of error."""
    multi_label = any(row.mean_average_precision is not None for row in ranking.rows)
    score = "mean AP" if multi_label else "accuracy"
    numeric = ("log loss", score, "LogME", "ms/image", "parameters", "MB")
    header = ("best", "backbone", *numeric[:2], "95 % interval", *numeric[2:], "Pareto front", "skipped because")
    rows = [_row(ranking, row, multi_label) for row in ranking.rows]
    console.note_table(header, rows, numeric)
    console.note(
        f"log loss (lower is better) and {score}: of a classifier on the features, cross-validated on "
        f"{counted(ranking.images, 'image')}",
        "LogME (higher is better): the same without a classifier; ms/image: the network alone, on this computer",
        "Pareto front: no other network is better and at the same time faster (ms) or smaller (MB)",
    )
    if ranking.skipped:
        console.warn(f"{counted(len(ranking.skipped), 'image')} could not be read; reasons: {place.ranking}")
    best, cheaper = ranking.best, ranking.cheaper
    if best is None:
        console.warn("no network can be recommended; see the last column of the table for the reasons")
        return
    if len(ranking.within_noise) > 1:
        fastest = f"; the fastest of them: {cheaper.name}" if cheaper else ""
        console.note(f"* best, ~ not significantly different from it on {counted(ranking.images, 'image')}{fastest}")
    console.note(f"best: {best.name}; plot: {place.plot}")


def _row(ranking: Ranking, row: CandidateScore, multi_label: bool) -> list[str]:
    mark = "*" if row is ranking.best else "~" if row.candidate in ranking.within_noise else ""
    units = {"ms": "ms_per_image", "MB": "megabytes"}
    fronts = [unit for unit, cost in units.items() if row.candidate in ranking.front(cost)]
    accuracy = row.accuracy or {"value": None, "low": None, "high": None}
    value = row.mean_average_precision if multi_label else accuracy["value"]
    low, high = accuracy["low"], accuracy["high"]
    interval = "-" if multi_label or low is None or high is None else f"{low:.3f} to {high:.3f}"
    scores = [_number(row.log_loss, 3), _number(value, 3), interval, _number(row.logme, 3)]
    costs = [_number(row.ms_per_image, 2), f"{row.candidate.parameters:,}", f"{row.megabytes:.1f}"]
    return [mark, row.name, *scores, *costs, ", ".join(fronts), row.left_out]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _next_command(folder: Path, best: CandidateScore, options: dict[str, Any]) -> str:
    """Return the command that trains the best candidate with the settings of its ranking."""
    command = ["transfer-cli", "extract", str(folder), "--backbone", best.candidate.backbone]
    if best.candidate.weights != best.candidate.spec.weights:
        command += ["--weights", best.candidate.weights]
    tables = ("class_map", "omit")
    of_images = ("group_by", "bit_depth", "split", "class_level", "path_column", "label_column", "images", *tables)
    for name in ("runtime", "seed", *of_images):
        if options[name]:
            command += [f"--{name.replace('_', '-')}", str(options[name])]
    return shell_command(*command)
