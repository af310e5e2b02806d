"""Accuracy of ways to fine-tune, on training images that were held out, on many folders.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/finetune_candidates.py ../shared/data
    python benchmarks/finetune_candidates.py ../shared/data --set stage.1.unfreeze=all --set stage.1.epochs=12

DATA has a folder for each data set, with train; test is never read. Of each class 30 % of the training images are held
out, the rest is a folder to fine-tune on with the default recipe and the settings. What could be kept is a row each,
compared with the linear probe on the pretrained network, as extract has it: weights on the way from the pretrained to
the trained ones, and the trained ones averaged with the probe, or with one classifier for the features of both.
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
PROBE = "linear probe"
WAYS = {"a quarter of the way": 0.25, "half of the way": 0.5, "three quarters": 0.75, "trained": 1.0}
"""Weights between the pretrained and the trained ones."""
PROBE_SHARES = {
    "trained, and a quarter probe": 1 / 4,
    "trained, and a third probe": 1 / 3,
    "trained, and half probe": 1 / 2,
}
JOINED = "one classifier for both"
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
    """Print one row of a Markdown table per network and what is kept."""
    cells: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for folder in folders or sorted(path.name for path in data.iterdir() if (path / "train").is_dir()):
        for backbone in backbones:
            for kept, accuracy, loss in measure(data / folder / "train", backbone, seed, settings):
                cells[backbone, kept].append((accuracy, loss))
            click.echo(f"{folder} {backbone}: {cells[backbone, PROBE][-1]} {cells[backbone, 'trained'][-1]}", err=True)
    click.echo("| network | kept | gain in points | worst folder | log loss | lower in |\n|---|---|---|---|---|---|")
    for (backbone, kept), scores in cells.items():
        before = cells[backbone, PROBE]
        gains = [100 * (new[0] - old[0]) for new, old in zip(scores, before, strict=True)]
        losses = [new[1] - old[1] for new, old in zip(scores, before, strict=True)]
        lower = f"{sum(loss < 0 for loss in losses)} of {len(losses)}"
        means = f"{statistics.mean(gains):+.1f} | {min(gains):+.1f} | {statistics.mean(losses):+.3f}"
        click.echo(f"| {backbone} | {kept} | {means} | {lower} |")


def measure(folder: Path, backbone: str, seed: int, settings: tuple[str, ...]) -> Iterator[tuple[str, float, float]]:
    """Fine-tune once; yield accuracy and log loss on the images that were held out, for all that could be kept."""
    import transfer_cli
    from transfer_cli.recipe.toml_source import parse_override
    from transfer_cli.training.loop.final_network import FinalNetwork

    found: list[tuple[str, float, float]] = []

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


def scores(final: Any) -> Iterator[tuple[str, float, float]]:
    """Yield name, accuracy and log loss of classifiers that are fitted to train and val."""
    from transfer_cli.metrics.scores import epoch_metrics
    from transfer_cli.progress import SILENT
    from transfer_cli.training.loop.final_network import mean_of

    context, data = final.context, final.data
    trained, test = context.weights(), np.flatnonzero(context.split.mask("test"))
    fitting, features, fitted = data.with_val_in_train().train, {}, {}
    for kept, share in {PROBE: 0.0, **WAYS}.items():
        final.mix(trained, share)
        features[kept] = final.features(np.union1d(fitting, test))
        fitted[kept] = final.fit(features[kept], fitting, SILENT)
    features[JOINED] = np.concatenate([features["trained"], features[PROBE]], axis=1)
    fitted[JOINED] = final.fit(features[JOINED], fitting, SILENT)
    for kept, share in PROBE_SHARES.items():
        features[kept], fitted[kept] = features[JOINED], mean_of(fitted["trained"], fitted[PROBE], share)
    for kept, classifier in fitted.items():
        metrics = epoch_metrics(data.truth[test], classifier.probabilities(features[kept][test]))
        yield kept, metrics["accuracy"], metrics["log_loss"]


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
