"""Off-the-shelf transfer: features of a frozen backbone, a classifier on them, an honest score."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from transfer_cli.catalog import classifiers
from transfer_cli.engine import training
from transfer_cli.engine.images import batches
from transfer_cli.engine.scores import score_parts
from transfer_cli.engine.startup import import_ahead
from transfer_cli.engine.training import Options, Request, TrainingResult
from transfer_cli.folder import PARTS, ImageFolder
from transfer_cli.metrics import Metrics
from transfer_cli.predictions import Skipped
from transfer_cli.progress import Progress
from transfer_cli.recipe import ExtractRecipe
from transfer_cli.run import RunDirectory
from transfer_cli.split import Split
from transfer_cli.tables import write_table
from transfer_cli.weights import must_be_known
from transfer_cli.writing import write_json, written_whole

if TYPE_CHECKING:
    from transfer_cli.engine.classify import Fitted


def extract(
    folder: ImageFolder, recipe: ExtractRecipe, run: RunDirectory, **options: Unpack[Options]
) -> TrainingResult:
    """Make a classifier from a folder of pictures and score it.

    Every picture goes once through the frozen backbone; the classifier learns from the features. With a val part the
    classifier learns from train alone; without one the val figures are out-of-fold, and the classifier learns
    from all pictures that are not test. The test part is read once, at the end.

    Parameters
    ----------
    folder : ImageFolder
    recipe : ExtractRecipe
    run : RunDirectory
        Where everything is written. A complete run of the same recipe is returned as it is.
    **options
        See training.Options.

    Raises
    ------
    WeightsError
        When the backbone's weights cannot be had. Nothing is written.
    RunError
        When the run directory holds another run.
    FolderError
        When too few pictures can be read to learn from.
    OutputError
        When the run cannot be written.
    """
    recipe = recipe.resolved()
    must_be_known(recipe.backbone.weights)
    asked = Request(folder, run, **options)
    with_model = recipe.classifier.name != classifiers.NONE
    if run.is_complete(with_model=with_model, with_features=True) and not asked.overwrite:
        run.must_match(recipe, folder.root)
        return training.complete(asked, _val_note)
    with run.released():
        return _train(asked, recipe)


def _train(asked: Request, recipe: ExtractRecipe) -> TrainingResult:
    run, with_model = asked.run, recipe.classifier.name != classifiers.NONE
    network = training.begin(asked, recipe)
    if with_model:
        import_ahead("transfer_cli.engine.classify", "skops.io", "scipy.stats")
    split, skipped = _features(asked, recipe, network)
    run.log("features", width=network.output_shape[-1], skipped=len(skipped), parts=split.counts())
    metrics: Metrics = {}
    if with_model:
        metrics = _classify(recipe, run, network, split, asked.progress)
    write_json(run.metrics, metrics)
    run.log("end", metrics=metrics)
    return TrainingResult(run, metrics, skipped, _val_note(split))


def _val_note(split: Split) -> str:
    return "" if "val" in split.counts() else "out-of-fold"


def _features(asked: Request, recipe: ExtractRecipe, network: Any) -> tuple[Split, tuple[Skipped, ...]]:
    """Write features.parquet, split.csv and skipped.csv."""
    from transfer_cli.engine import backbone, features

    folder, run = asked.folder, asked.run
    read = batches(
        (file.path for file in folder.files),
        size=training.size_of(recipe),
        resize=recipe.images.resize,
        batch_size=recipe.batch_size,
        root=folder.root,
        strict=asked.strict,
    )
    width = network.output_shape[-1]
    with written_whole(run.features) as target, TemporaryDirectory(prefix=".features-", dir=run.path) as place:
        draft = Path(place) / "features.parquet"
        with asked.progress.track(f"features by {recipe.backbone.name}", len(folder.files)) as advance:
            found = features.extract_to(draft, read, backbone.run(network), folder, width=width, advance=advance)
        split = training.make_split(asked, recipe, found.indices, found.digests, found.skipped)
        features.add_parts(draft, target, split, width)
    training.write_split(asked, split, found.skipped)
    return split, found.skipped


def _classify(recipe: ExtractRecipe, run: RunDirectory, network: Any, split: Split, progress: Progress) -> Metrics:
    """Fit, score and save the classifier; return the figures of each part."""
    with progress.track("starting scikit-learn", None):
        from transfer_cli.engine import classify, features, model

    matrix = features.read(run.features)
    names = split.class_names
    truth = split.truth()
    train, val, test = (split.mask(part) for part in PARTS)
    spec = classifiers.find(recipe.classifier.name)
    fitted = classify.fit(
        spec,
        matrix[train],
        truth[train],
        classes=len(names),
        tune=bool(recipe.classifier.tune),
        seconds=recipe.classifier.tune_seconds,
        out_of_fold=not val.any(),
        seed=recipe.seed,
        progress=progress,
    )
    _write_history(fitted, spec, run)
    scored = {}
    if fitted.out_of_fold is not None:
        known = ~np.isnan(fitted.out_of_fold[:, 0])
        scored["val"] = np.flatnonzero(train)[known], fitted.out_of_fold[known]
    for part, mask in (("val", val), ("test", test)):
        if mask.any():
            scored[part] = np.flatnonzero(mask), classify.probabilities(fitted.pipeline, matrix[mask], len(names))
    metrics = score_parts(run, split, scored)

    def save(directory: Path) -> None:
        network.save(directory / model.BACKBONE_FILE)
        classify.save(fitted.pipeline, directory / model.CLASSIFIER_FILE)

    training.new_bundle("features", recipe, names, network.output_shape[-1], run).write(run.model, save)
    return metrics


def _write_history(fitted: Fitted, spec: classifiers.ClassifierSpec, run: RunDirectory) -> None:
    rows = (
        (trial.value, f"{trial.log_loss:.6f}", f"{trial.accuracy:.6f}", "yes" if trial.value == fitted.value else "no")
        for trial in fitted.trials
    )
    write_table(run.history, (spec.parameter or "value", "log_loss", "accuracy", "chosen"), rows)
