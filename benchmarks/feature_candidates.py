"""Out-of-fold accuracy of ways to make features from a frozen network, and of classifiers, on many folders.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/feature_candidates.py ../shared/data

DATA has a folder for each data set, with train; test is never read. Each row is compared with the first one: a logistic
regression on the mean of the last feature map. `levels` are the last feature maps of all resolutions.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

Pooled = dict[str, list[NDArray[np.float32]]]
BACKBONES = ("mobilenet@0.25", "mobilenet_v2@0.35")


def root(features: NDArray[np.float32], power: float = 0.5) -> NDArray[np.float32]:
    """Return the signed power of features."""
    return np.sign(features) * np.abs(features) ** power


def candidates(pooled: Pooled) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Yield the name of each way, its classifier, and its features of shape (n, width)."""
    mean, top = np.concatenate(pooled["mean"], axis=1), pooled["mean"][-1]
    flipped = np.concatenate(pooled["mean of mirror image"], axis=1)
    last_max = root(pooled["max"][-1])
    yield "mean of the last map", "logistic", top
    yield "mean of the last map", "lda", top
    yield "root of the mean of the last map", "logistic", root(top)
    yield "root of the mean of the last map", "lda", root(top)
    yield "mean of all levels", "logistic", mean
    yield "mean of all levels", "lda", mean
    yield "root of the mean of all levels", "logistic", root(mean)
    yield "root of the mean of all levels (default)", "lda", root(mean)
    for count in (2, 3):
        features = np.concatenate(pooled["mean"][-count:], axis=1)
        yield f"root of the mean of the last {count} levels", "lda", root(features)
    yield "power 0.25 of the mean of all levels", "lda", root(mean, 0.25)
    yield "power 0.7 of the mean of all levels", "lda", root(mean, 0.7)
    yield "root of the mean of all levels, and of the maximum of the last", "lda", np.hstack([root(mean), last_max])
    yield "root of the mean of all levels and of both mirror images", "lda", root((mean + flipped) / 2)


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--folder", "folders", multiple=True, help="Only these folders of DATA.")
@click.option("--backbone", "backbones", multiple=True, default=BACKBONES)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), help="Seeds of the folds.")
def main(data: Path, folders: tuple[str, ...], backbones: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    """Print one row of a Markdown table per way and classifier."""
    from transfer_cli.catalog.classifiers import find
    from transfer_cli.classifiers import fit
    from transfer_cli.metrics.scores import epoch_metrics

    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for folder in folders or sorted(path.name for path in data.iterdir() if (path / "train").is_dir()):
        for backbone in backbones:
            pooled, truth = pool(data / folder / "train", backbone)
            classes = int(truth.max()) + 1
            for way, name, features in candidates(pooled):
                found = []
                for seed in seeds:
                    fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes, tune=True, seed=seed))
                    metrics = epoch_metrics(truth, fitted.out_of_fold)
                    found.append((metrics["accuracy"], metrics["log_loss"]))
                scores.setdefault((way, name), []).append(tuple(map(statistics.mean, zip(*found, strict=True))))
            click.echo(f"{folder} {backbone}", err=True)
    click.echo(
        "| features | classifier | gain in points | worst folder | log loss | lower in |\n|---|---|---|---|---|---|"
    )
    base = next(iter(scores.values()))
    for (way, name), cells in scores.items():
        gains = [100 * (new[0] - old[0]) for new, old in zip(cells, base, strict=True)]
        losses = [new[1] - old[1] for new, old in zip(cells, base, strict=True)]
        lower = sum(loss < 0 for loss in losses)
        click.echo(
            f"| {way} | {name} | {statistics.mean(gains):+.1f} | {min(gains):+.1f} | {statistics.mean(losses):+.3f} "
            f"| {lower} of {len(losses)} |"
        )


def pool(folder: Path, backbone: str) -> tuple[Pooled, NDArray[np.int64]]:
    """Return the pooled levels of all images of a folder, each of shape (n, channels), and their classes."""
    import keras
    import tensorflow as tf

    from transfer_cli.catalog.backbones import find
    from transfer_cli.data.image_batches import batches
    from transfer_cli.models.backbone import build
    from transfer_cli.models.feature_levels import level_maps

    network = build(find(backbone))
    maps = level_maps(network.inputs[0], network.layers[-1].input)
    outputs = [reduce(each, axis=(1, 2)) for each in maps for reduce in (keras.ops.mean, keras.ops.max)]
    run = tf.function(keras.Model(network.inputs[0], outputs), reduce_retracing=True)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    class_of = {str(path): number for number, name in enumerate(names) for path in sorted((folder / name).iterdir())}
    truth, rows = [], []
    for batch in batches(list(class_of), size=network.input_shape[1], resize="squash", batch_size=32):
        truth += [class_of[path] for path in batch.paths]
        views = batch.images, np.ascontiguousarray(batch.images[:, :, ::-1])
        rows.append([[np.asarray(each) for each in run(tf.constant(view))] for view in views])
    plain, mirrored = ([np.concatenate(each) for each in zip(*view, strict=True)] for view in zip(*rows, strict=True))
    return {"mean": plain[::2], "max": plain[1::2], "mean of mirror image": mirrored[::2]}, np.array(truth)


if __name__ == "__main__":
    main()
