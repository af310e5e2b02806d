"""Off-the-shelf transfer: features of a frozen backbone, a classifier on them, an honest score."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import balances, classifiers
from transfer_cli.engine import training, trust
from transfer_cli.engine.linear import Linear, less_common
from transfer_cli.engine.prepared import GRAPH_FILE, Prepared
from transfer_cli.engine.relatives import groups_of, prepared
from transfer_cli.engine.scores import score_parts, thresholds_note
from transfer_cli.engine.startup import import_ahead
from transfer_cli.engine.training import Options, Request, TrainingResult
from transfer_cli.errors import InputError
from transfer_cli.folder import PARTS, ImageFolder
from transfer_cli.groups import kin
from transfer_cli.learnt import LEARNT_FILE, Learnt
from transfer_cli.metrics import Metrics
from transfer_cli.predictions import Skipped
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
    GateError
        When the accuracy is below the one that was asked for. The run keeps all but the model.
    InputError
        When it shall be written for TensorBoard: there are no epochs.
    """
    asked = Request(folder, run, **options)
    if asked.tensorboard:
        raise InputError("extract has no epochs to write for TensorBoard.", hint="Its figures are in metrics.json.")
    with_model = recipe.classifier.name != classifiers.NONE
    recipe = training.resolved(asked, recipe, keeps_model=with_model)
    must_be_known(recipe.backbone.weights)
    if run.is_complete(with_model=with_model, with_features=True) and not asked.overwrite:
        run.must_match(recipe, folder.source)
        return training.complete(asked, _val_note)
    with run.released():
        return _train(asked, recipe)


def _train(asked: Request, recipe: ExtractRecipe) -> TrainingResult:
    run, with_model = asked.run, recipe.classifier.name != classifiers.NONE
    network = training.begin(asked, recipe, lambda: prepared(asked, recipe))
    run.write_environment(recipe.seed, network.device)
    if with_model:
        import_ahead("transfer_cli.engine.classify", "skops.io", "scipy.stats")
    split, skipped, relatives = _features(asked, recipe, network)
    run.log("features", width=network.width, runtime=network.words, skipped=len(skipped), parts=split.counts())
    metrics: Metrics = {}
    if with_model:
        metrics = _classify(asked, recipe, network, split, relatives)
    write_json(run.metrics, metrics)
    run.log("end", metrics=metrics)
    return TrainingResult(run, metrics, skipped, _val_note(split), is_uneven=training.is_uneven(split))


def _val_note(split: Split) -> str:
    return ", ".join(filter(None, ["" if "val" in split.counts() else "out-of-fold", thresholds_note(split)]))


def _features(
    asked: Request, recipe: ExtractRecipe, network: Prepared
) -> tuple[Split, tuple[Skipped, ...], NDArray[np.int64]]:
    """Write features.parquet, split.csv and skipped.csv; return the relatives of each picture, too (see groups.kin)."""
    from transfer_cli.engine import features
    from transfer_cli.engine.known import KnownFeatures

    folder, run = asked.folder, asked.run
    known = KnownFeatures(asked, recipe, network)
    width = network.width
    with written_whole(run.features) as target, TemporaryDirectory(prefix=".features-", dir=run.path) as place:
        draft = Path(place) / "features.parquet"
        what = f"features by {recipe.backbone.name} on {network.runtime}"
        try:
            with asked.progress.track(what, len(folder.files)) as advance:
                found = features.extract_to(draft, known.batches(), known.rows, folder, width=width, advance=advance)
            known.check()
        finally:
            # What was computed is there for another time, however this one ends.
            known.close()
        groups = groups_of(asked, recipe, found.indices, found.digests, lambda: (found.indices, features.read(draft)))
        split = training.make_split(asked, recipe, found.indices, found.digests, found.skipped, groups)
        features.add_parts(draft, target, split, width)
    training.write_split(asked, split, found.skipped)
    return split, found.skipped, kin(found.digests, groups)


def _classify(
    asked: Request, recipe: ExtractRecipe, network: Prepared, split: Split, relatives: NDArray[np.int64]
) -> Metrics:
    """Fit, score and save the classifier; return the figures of each part."""
    run, progress = asked.run, asked.progress
    with progress.track("starting scikit-learn", None):
        from transfer_cli.engine import classify, features, model

    matrix = features.read(run.features)
    names = split.class_names
    truth = split.truth()
    train, val, test = (split.mask(part) for part in PARTS)
    spec = classifiers.find(recipe.classifier.name)
    weights, offsets = _balance(recipe, truth[train], len(names))
    fitted = classify.fit(
        spec,
        matrix[train],
        truth[train],
        classes=len(names),
        tune=bool(recipe.classifier.tune),
        seconds=recipe.classifier.tune_seconds,
        out_of_fold=not val.any(),
        seed=recipe.seed,
        weights=weights,
        groups=relatives[train],
        progress=progress,
    )

    def given(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return classify.probabilities(fitted.pipeline, rows, len(names))

    _write_history(fitted, spec, run)
    scored = {}
    if fitted.out_of_fold is not None:
        known = ~np.isnan(fitted.out_of_fold[:, 0])
        scored["val"] = np.flatnonzero(train)[known], less_common(fitted.out_of_fold[known], offsets)
    for part, mask in (("val", val), ("test", test)):
        if mask.any():
            scored[part] = np.flatnonzero(mask), less_common(given(matrix[mask]), offsets)
    fitted_on_val = trust.fit(recipe, split, matrix, np.flatnonzero(train), scored, groups=relatives)
    metrics = score_parts(run, split, fitted_on_val.calibrated(scored), fitted_on_val.thresholds)
    training.must_be_good_enough(asked, metrics, _val_note(split))

    def save(directory: Path) -> None:
        network.save(directory / model.BACKBONE_FILE, directory / GRAPH_FILE)
        classify.save(fitted.pipeline, directory / model.CLASSIFIER_FILE)
        fitted_on_val.save(directory)
        learnt, chosen_by = ([row.sha256 for row in split.rows if row.part == part] for part in ("train", "val"))
        Learnt.of(learnt, chosen_by).save(directory / LEARNT_FILE)
        if not spec.linear:
            return
        folded = Linear.fold(fitted.pipeline, len(names))
        if folded.is_like(given, matrix):
            folded.save(directory / model.LINEAR_FILE)
        else:
            progress.warn("predicting will start more slowly: as one matrix the classifier gives other probabilities")

    bundle = training.new_bundle("features", recipe, split, network.width, run, fitted_on_val)
    bundle = bundle.model_copy(update={"log_prior": offsets})

    def save_all(directory: Path) -> None:
        save(directory)
        training.write_card(asked, directory, bundle, split, metrics, fitted_on_val, _val_note(split))

    bundle.write(run.model, save_all)
    return metrics


def _balance(
    recipe: ExtractRecipe, truth: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64] | None, tuple[float, ...] | None]:
    """Return what a picture of each class counts, and what of how common it is is taken out of its probability."""
    spec = balances.find(recipe.balance.method)
    if truth.ndim == 2:
        return None, None
    counts = np.maximum(np.bincount(truth, minlength=classes), 1)
    offsets = spec.offsets(counts, recipe.balance)
    return spec.fitted_weights(counts, recipe.balance), tuple(offsets.tolist()) if offsets.any() else None


def _write_history(fitted: Fitted, spec: classifiers.ClassifierSpec, run: RunDirectory) -> None:
    rows = (
        (trial.value, f"{trial.log_loss:.6f}", f"{trial.accuracy:.6f}", "yes" if trial.value == fitted.value else "no")
        for trial in fitted.trials
    )
    write_table(run.history, (spec.parameter or "value", "log_loss", "accuracy", "chosen"), rows)
    for trial in fitted.trials:
        chosen = trial.value == fitted.value
        run.log("trial", value=trial.value, log_loss=trial.log_loss, accuracy=trial.accuracy, chosen=chosen)
