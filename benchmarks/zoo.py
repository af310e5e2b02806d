"""Accuracy and log loss of `extract` and `finetune` on folders of different kinds, with several networks and seeds.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/zoo.py run ../shared/data extract
    python benchmarks/zoo.py run ../shared/data extract --name logistic \
        --set classifier.name=logistic --set backbone.pooling=avg
    python benchmarks/zoo.py table extract --against logistic
    python benchmarks/zoo.py table extract --against logistic --part test
    python benchmarks/zoo.py run ../shared/data finetune
    python benchmarks/zoo.py table finetune --against extract:default --part test

`run` trains each folder of DATA, which has train and test, once for each network and seed, and appends a line to
zoo.jsonl, which is part of the repository; cells that are there are skipped. Defaults are chosen by what is held out of
train (the out-of-fold predictions of extract, the validation set of finetune), which `table` shows unless it is asked
for test. `--images-per-class 10` trains on fewer images; those that are left over are not used. Seconds are null where
other work ran on the machine.
"""

from __future__ import annotations

import csv
import json
import math
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

RESULTS = Path(__file__).with_name("zoo.jsonl")
BACKBONES = ("mobilenet@0.25", "mobilenet_v2@0.35")
RESAMPLES = 10_000
KEY = ("command", "name", "images_per_class", "folder", "backbone", "seed")


@click.group()
def main() -> None:
    """Measure the defaults on many folders."""


@main.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("command", type=click.Choice(["extract", "finetune"]))
@click.option("--name", default="default", help="What the settings are called in the table.")
@click.option("--set", "settings", multiple=True, help="Setting of the recipe.")
@click.option("--folder", "folders", multiple=True, help="Only these folders of DATA.")
@click.option("--backbone", "backbones", multiple=True, default=BACKBONES)
@click.option("--seeds", type=int, default=3, help="Number of seeds.")
@click.option("--images-per-class", type=int, default=0, help="Training images of each class; 0: all.")
def run(
    data: Path,
    command: str,
    name: str,
    settings: tuple[str, ...],
    folders: tuple[str, ...],
    backbones: tuple[str, ...],
    seeds: int,
    images_per_class: int,
) -> None:
    """Train what is missing in zoo.jsonl."""
    known = {tuple(cell[key] for key in KEY) for cell in cells()}
    with tempfile.TemporaryDirectory() as place:
        os.environ.setdefault("TRANSFER_CLI_CACHE", f"{place}/cache")
        for folder in folders or sorted(path.name for path in data.iterdir() if (path / "train").is_dir()):
            for backbone in backbones:
                for seed in range(seeds):
                    cell = (command, name, images_per_class, folder, backbone, seed)
                    if cell not in known:
                        measured = measure(data / folder, cell, settings, Path(place))
                        with RESULTS.open("a") as file:
                            file.write(json.dumps(dict(zip(KEY, cell, strict=True)) | measured) + "\n")
                        click.echo(f"{' '.join(map(str, cell))}: {measured}")


def measure(folder: Path, cell: tuple[Any, ...], settings: tuple[str, ...], place: Path) -> dict[str, Any]:
    """Train one cell, and return its scores and seconds."""
    import transfer_cli
    from transfer_cli.recipe.toml_source import parse_override

    command, _, count, _, backbone, seed = cell
    source = listed(folder, count, seed, place / "images.csv")
    train = getattr(transfer_cli, command)
    overrides = {"split.seed": seed, **dict(map(parse_override, settings))}
    begun = time.monotonic()
    trained = train(source, backbone=backbone, seed=seed, set=overrides, output=place / "run", overwrite=True)
    seconds = round(time.monotonic() - begun, 1)
    scores = {
        f"{part}_{metric}": round(trained.metrics[part][metric]["value"], 5)
        for part in ("val", "test")
        for metric in ("accuracy", "log_loss")
    }
    rows = correct(place / "run/predictions_test.csv")
    return {**scores, "test_images": len(rows), "seconds": seconds, "correct": "".join(map(str, rows))}


def correct(table: Path) -> list[int]:
    """Return 1 for each correctly classified image of a table of predictions, else 0, by path."""
    with table.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    return [int(row["label"] == row["true_label"]) for row in rows]


def listed(folder: Path, count: int, seed: int, target: Path) -> Path:
    """Write a table of all test images and some training images of each class; return the folder itself for all."""
    if not count:
        return folder
    random = np.random.default_rng(seed)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for directory in sorted(path for part in ("train", "test") for path in (folder / part).iterdir()):
            paths = sorted(directory.iterdir())
            if directory.parent.name == "train":
                paths = [paths[place] for place in sorted(random.permutation(len(paths))[:count])]
            writer.writerows((path.resolve(), directory.name, directory.parent.name) for path in paths)
    return target


@main.command()
@click.argument("command", type=click.Choice(["extract", "finetune"]))
@click.option("--name", default="default")
@click.option("--against", required=True, help="COMMAND:NAME, or NAME of the same command, to compare with.")
@click.option("--images-per-class", type=int, default=0)
@click.option("--part", type=click.Choice(["val", "test"]), default="val")
def table(command: str, name: str, against: str, images_per_class: int, part: str) -> None:
    """Print the gain over other settings, per folder and network, with a paired 95 % interval over images and seeds."""
    other = tuple(against.split(":")) if ":" in against else (command, against)
    both = [scores(*each, images_per_class, part) for each in ((command, name), other)]
    click.echo("| folder | network | accuracy | before | gain in points | log loss | before | seconds | before |")
    click.echo("|---|---|---|---|---|---|---|---|---|")
    gains, lower = [], 0
    for place in sorted(both[0].keys() & both[1].keys()):
        new, old = (each[place] for each in both)
        seeds = sorted(new.keys() & old.keys())
        gain = [100 * (new[seed][0] - old[seed][0]) for seed in seeds]
        means = [[statistics.mean(each[seed][column] for seed in seeds) for each in (new, old)] for column in range(3)]
        gains.append(statistics.mean(gain))
        lower += means[1][0] < means[1][1]
        pairs = [(new[seed][3], old[seed][3]) for seed in seeds if part == "test" and new[seed][3] and old[seed][3]]
        cells = (
            [f"{value:.3f}" for value in means[0]] + [interval(gain, pairs)] + [f"{value:.3f}" for value in means[1]]
        )
        click.echo(f"| {' | '.join([*place, *cells, *(f'{value:.0f}' for value in means[2])])} |")
    if gains:
        worst = statistics.mean(sorted(gains)[:3])
        click.echo(
            f"\nmean gain {statistics.mean(gains):+.2f} points, of the worst three {worst:+.2f}, "
            f"lowest {min(gains):+.2f}; log loss lower in {lower} of {len(gains)}"
        )


def scores(
    command: str, name: str, images_per_class: int, part: str
) -> dict[tuple[str, str], dict[int, tuple[float, float, float, str]]]:
    """Return accuracy, log loss, seconds and the correct test images by folder and network, and by seed."""
    found: dict[tuple[str, str], dict[int, tuple[float, float, float, str]]] = defaultdict(dict)
    for cell in cells():
        if (cell["command"], cell["name"], cell["images_per_class"]) == (command, name, images_per_class):
            accuracy, loss, seconds = cell[f"{part}_accuracy"], cell[f"{part}_log_loss"], cell["seconds"] or math.nan
            found[cell["folder"], cell["backbone"]][cell["seed"]] = accuracy, loss, seconds, cell.get("correct", "")
    return found


def interval(gain: list[float], pairs: list[tuple[str, str]]) -> str:
    """Return the mean gain, with a bootstrap interval over seeds and images if all seeds have their images."""
    mean = statistics.mean(gain)
    if not pairs or len(pairs) < len(gain):
        return f"{mean:+.1f}"
    rows = np.array([[int(new) - int(old) for new, old in zip(*pair, strict=True)] for pair in pairs])
    random = np.random.default_rng(0)
    seeds = random.integers(len(rows), size=(RESAMPLES, len(rows)))
    counts = random.multinomial(rows.shape[1], np.full(rows.shape[1], 1 / rows.shape[1]), RESAMPLES)
    low, high = np.quantile([counts[at] @ rows[seeds[at]].mean(axis=0) for at in range(RESAMPLES)], (0.025, 0.975))
    return f"{mean:+.1f} ({100 * low / rows.shape[1]:+.1f} to {100 * high / rows.shape[1]:+.1f})"


def cells() -> Iterator[dict[str, Any]]:
    """Yield the lines of zoo.jsonl."""
    if RESULTS.is_file():
        yield from map(json.loads, RESULTS.read_text().splitlines())


if __name__ == "__main__":
    main()
