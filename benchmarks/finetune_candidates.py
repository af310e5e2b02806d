"""Accuracy of ways to fine-tune, on training images that were held out, on many folders.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/finetune_candidates.py ../shared/data
    python benchmarks/finetune_candidates.py ../shared/data --set stage.1.unfreeze=all --set stage.1.epochs=12

DATA has a folder for each data set, with train; test is never read. Of each class 30 % of the training images are held
out, the rest is a folder to fine-tune on with the default recipe and the settings. Each share of the way from the
pretrained to the trained weights is a row, compared with the first: the pretrained network, as extract has it.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

BACKBONES = ("mobilenet@0.25", "mobilenet_v2@0.35")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HELD_OUT = 0.3


class _Measured(Exception):  # noqa: N818
    """Ends a fine-tuning once its shares are measured."""


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--folder", "folders", multiple=True, help="Only these folders of DATA.")
@click.option("--backbone", "backbones", multiple=True, default=BACKBONES)
@click.option("--seed", type=int, default=0)
@click.option("--set", "settings", multiple=True, help="Setting of the recipe.")
def main(
    data: Path, folders: tuple[str, ...], backbones: tuple[str, ...], seed: int, settings: tuple[str, ...]
) -> None:
    """Print one row of a Markdown table per network and share."""
    cells: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    for folder in folders or sorted(path.name for path in data.iterdir() if (path / "train").is_dir()):
        for backbone in backbones:
            for share, accuracy, loss in measure(data / folder / "train", backbone, seed, settings):
                cells[backbone, share].append((accuracy, loss))
            click.echo(f"{folder} {backbone}: {cells[backbone, 0.0][-1]} {cells[backbone, 0.5][-1]}", err=True)
    click.echo("| network | share | gain in points | worst folder | log loss | lower in |\n|---|---|---|---|---|---|")
    for (backbone, share), scores in sorted(cells.items()):
        before = cells[backbone, 0.0]
        gains = [100 * (new[0] - old[0]) for new, old in zip(scores, before, strict=True)]
        losses = [new[1] - old[1] for new, old in zip(scores, before, strict=True)]
        lower = f"{sum(loss < 0 for loss in losses)} of {len(losses)}"
        means = f"{statistics.mean(gains):+.1f} | {min(gains):+.1f} | {statistics.mean(losses):+.3f}"
        click.echo(f"| {backbone} | {share} | {means} | {lower} |")


def measure(folder: Path, backbone: str, seed: int, settings: tuple[str, ...]) -> Iterator[tuple[float, float, float]]:
    """Fine-tune once; yield for each share accuracy and log loss on the images that were held out."""
    import transfer_cli
    from transfer_cli.recipe.toml_source import parse_override
    from transfer_cli.training.loop.final_network import FinalNetwork

    found: list[tuple[float, float, float]] = []

    def choose(final: FinalNetwork) -> None:
        found.extend(scores(final))
        raise _Measured

    original, FinalNetwork.choose = FinalNetwork.choose, choose  # type: ignore[method-assign, assignment]
    try:
        with tempfile.TemporaryDirectory() as place:
            source = held_out(folder, seed, Path(place) / "images.csv")
            words = {"split.seed": seed, **dict(map(parse_override, settings))}
            transfer_cli.finetune(source, backbone=backbone, seed=seed, set=words, output=Path(place) / "run")
    except _Measured:
        yield from found
    finally:
        FinalNetwork.choose = original  # type: ignore[method-assign]


def scores(final: Any) -> Iterator[tuple[float, float, float]]:
    """Yield share, accuracy and log loss of classifiers that are fitted to train and val."""
    from transfer_cli.metrics.scores import epoch_metrics

    context, data = final.context, final.data
    trained, test = context.weights(), np.flatnonzero(context.split.mask("test"))
    fitting = data.with_val_in_train().train
    for share in SHARES:
        final.mix(trained, share)
        features = final.features(np.union1d(fitting, test))
        probabilities = final.fit(features, fitting, context.progress).probabilities(features[test])
        metrics = epoch_metrics(data.truth[test], probabilities)
        yield share, metrics["accuracy"], metrics["log_loss"]


def held_out(folder: Path, seed: int, target: Path) -> Path:
    """Write a table of the training images, of which some of each class are the test images."""
    random = np.random.default_rng(100 + seed)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for directory in sorted(folder.iterdir()):
            paths = sorted(directory.iterdir())
            order = random.permutation(len(paths))
            count = max(1, round(HELD_OUT * len(paths)))
            for part, places in (("train", order[count:]), ("test", order[:count])):
                writer.writerows((paths[place].resolve(), directory.name, part) for place in sorted(places))
    return target


if __name__ == "__main__":
    main()
