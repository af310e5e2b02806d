"""``transfer-cli rank --layers``: which options fit, and what is printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import check_suffix, network_overrides, scan_images, training_request
from transfer_cli.errors import DONE, DONE_WITH_SKIPPED
from transfer_cli.text import counted, shell_command

if TYPE_CHECKING:
    from transfer_cli.ranking.layer_results import LayerRanking
    from transfer_cli.ranking.probe import ProbeScore

_OF_NETWORKS = ("among", "by", "max_ms", "max_mb", "time_budget", "download")
_FLAGS = {"by": "--score"}
_NUMERIC = ("depth", "channels", "log loss", "accuracy", "mean AP")


def check_layer_options(options: Mapping[str, Any], layers: bool) -> None:
    """Raise a usage error if an option does not fit ``--layers``, or is only for it."""
    if not layers:
        if name := options["backbone"]:
            raise click.UsageError(
                f"--backbone selects the network of --layers. To rank networks, use --among {shell_command(name)}; to "
                "rank the layers of this one, add --layers."
            )
        if options["preprocess"]:
            raise click.UsageError("--preprocess is only for --layers with --backbone FILE.keras.")
        return
    for name in _OF_NETWORKS:
        if options[name]:
            flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
            instead = " Use --backbone NAME." if name == "among" else ""
            raise click.UsageError(f"{flag} is for a ranking of networks; --layers ranks the layers of one.{instead}")
    if len(weights := options["weights"] or ()) > 1:
        raise click.UsageError(f"--layers needs one kind of --weights. Received: {','.join(weights)}.")


def rank_network_layers(console: Console, folder: Path, output: Path | None, options: Mapping[str, Any]) -> int:
    """Rank the layers of one network, print the table and write the plot."""
    from transfer_cli.recipe.recipes import ExtractRecipe
    from transfer_cli.rendering.png_provenance import RANK_LAYERS, check_png_target
    from transfer_cli.runs.run_directory import RunDirectory

    options = {**options, "weights": next(iter(options["weights"] or ()), None)}
    settings = {
        **network_overrides(options),
        "backbone.weights": options["weights"],
        "inference.runtime": options["runtime"],
        "images.bit_depth": options["bit_depth"],
        "split.group_by": options["group_by"],
        "seed": options["seed"],
    }
    recipe = ExtractRecipe.load(settings={name: value for name, value in settings.items() if value is not None})
    images = scan_images(folder, options, group_by=options["group_by"])
    target = output or Path("plots") / f"{images.name}-layers.png"
    check_suffix(target, ".png")
    check_png_target(target, RANK_LAYERS)

    from transfer_cli.ranking.options import IMAGES
    from transfer_cli.ranking.rank_layers import rank_layers

    request = training_request(console, images, RunDirectory(target), options)
    ranking = rank_layers(request, recipe, target, images=options["max_images"] or IMAGES)
    _print_layers(console, ranking, target)
    return DONE_WITH_SKIPPED if ranking.skipped else DONE


def _print_layers(console: Console, ranking: LayerRanking, target: Path) -> None:
    multi_label = ranking.joined.mean_average_precision is not None
    score = "mean AP" if multi_label else "accuracy"
    for item in ranking.skipped:
        console.warn(f"{item.path} could not be read: {item.reason}")
    console.note(
        f"log loss (lower is better) and {score}: of a classifier on the features, cross-validated on "
        f"{counted(ranking.images, 'image')}",
        "depth: number of layers with a kernel up to this one; level: part of the joined levels",
        ranking.verdict(),
        f"best single layer (*): {ranking.best.depth.layer}; plot: {target}",
    )
    rows = []
    for each in ranking.depths:
        depth = each.depth
        place = ["*" if each is ranking.best else "", str(depth.number), depth.layer]
        shape = [f"{depth.height} x {depth.width}", str(depth.channels), "yes" if depth.is_level else ""]
        rows.append([*place, *shape, *_scores(each.score)])
    channels = sum(each.depth.channels for each in ranking.depths if each.depth.is_level)
    rows.append(["", "", "joined levels", "", str(channels), "", *_scores(ranking.joined)])
    header = ("best", "depth", "layer", "map", "channels", "level", "log loss", score, "95 % interval")
    console.table(header, rows, {"output": str(target), **ranking.to_dict()}, _NUMERIC)


def _scores(score: ProbeScore) -> list[str]:
    if score.mean_average_precision is not None:
        return [f"{score.log_loss:.3f}", f"{score.mean_average_precision:.3f}", "-"]
    accuracy = score.accuracy
    return [
        f"{score.log_loss:.3f}",
        f"{accuracy['value']:.3f}",
        f"{accuracy['low']:.3f} to {accuracy['high']:.3f}",
    ]
