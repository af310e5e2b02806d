"""Off-the-shelf transfer: features of a frozen backbone, a classifier on them, an honest score."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.grouping import groups_of, prepared
from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.bundle.training_images import LEARNT_FILE, TrainingImages
from transfer_cli.calibration import fit as fit_on_val
from transfer_cli.catalog import class_balancing, classifiers
from transfer_cli.classifiers.linear import Linear, remove_log_prior
from transfer_cli.data import bootstrap
from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.image_folder import PARTS, ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.features.shared_extraction import Seen, SharedExtraction, link
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.io.atomic import write_json, written_whole
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.scores import Metrics
from transfer_cli.models.weights.registry import must_be_known
from transfer_cli.quiet_imports import import_ahead
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import Options, TrainingRequest, TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts, thresholds_note
from transfer_cli.training.setup import lifecycle

if TYPE_CHECKING:
    from transfer_cli.classifiers.fit import Fitted

_NEEDED = ("transfer_cli.classifiers.fit", "skops.io", "scipy.stats")
"""What takes seconds to import, and is needed only when there are features."""


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
    return learn(TrainingRequest(folder, run, **options), recipe, SharedExtraction())


def learn(request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction) -> TrainingResult:
    """Do what `extract` does, with what runs of the same features share."""
    run = request.run
    if request.tensorboard:
        raise InputError("extract has no epochs to write for TensorBoard.", hint="Its figures are in metrics.json.")
    with_model = recipe.classifier.name != classifiers.NONE
    recipe = lifecycle.resolved(request, recipe, keeps_model=with_model)
    must_be_known(recipe.backbone.weights)
    if run.is_complete(with_model=with_model, with_features=True) and not request.overwrite:
        run.must_match(recipe, request.folder.source)
        return lifecycle.complete(request, partial(_val_note, recipe))
    with run.released():
        return _train(request, recipe, shared)


def _train(request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction) -> TrainingResult:
    run, with_model = request.run, recipe.classifier.name != classifiers.NONE
    network = lifecycle.begin(request, recipe, lambda: shared.network or prepared(request, recipe))
    shared.network = network
    run.write_environment(recipe.seed, network.device)
    if shared.seen is None:
        with import_ahead(*(_NEEDED if with_model else ())):
            shared.seen = _features(request, recipe, network)
        if shared.earlier is not None:
            shared.go_on_from(shared.earlier)
    else:
        with written_whole(run.features) as target:
            link(shared.seen.features, target)
    seen, split = shared.seen, shared.seen.split
    lifecycle.write_split(request, split, seen.skipped)
    run.log("features", width=network.width, runtime=network.words, skipped=len(seen.skipped), parts=split.counts())
    metrics: Metrics = {}
    if with_model:
        metrics = _classify(request, recipe, shared, seen)
    write_json(run.metrics, metrics)
    run.log("end", metrics=metrics)
    note, uneven = _val_note(recipe, split), is_uneven(split)
    return TrainingResult(run, metrics, seen.skipped, note, is_uneven=uneven)


def _val_note(recipe: ExtractRecipe, split: Split) -> str:
    held_out = "out-of-fold" if recipe.bag is None else "out-of-bag"
    return ", ".join(filter(None, ["" if "val" in split.counts() else held_out, thresholds_note(split)]))


def _features(request: TrainingRequest, recipe: ExtractRecipe, network: CompiledNetwork) -> Seen:
    """Run the network on the pictures, and write features.parquet."""
    from transfer_cli.features import table
    from transfer_cli.features.extraction import KnownFeatures

    folder, run = request.folder, request.run
    known = KnownFeatures(request, recipe, network)
    width = network.width
    with written_whole(run.features) as target, TemporaryDirectory(prefix=".features-", dir=run.path) as place:
        draft = Path(place) / "features.parquet"
        what = f"features by {recipe.backbone.name} on {network.runtime}"
        try:
            with request.progress.track(what, len(folder.files)) as advance:
                found = table.extract_to(draft, known.batches(), known.rows, folder, width=width, advance=advance)
            known.check()
        finally:
            # What was computed is there for another time, however this one ends.
            known.close()
        groups = groups_of(request, recipe, found.indices, found.digests, lambda: (found.indices, table.read(draft)))
        split = lifecycle.make_split(request, recipe, found.indices, found.digests, found.skipped, groups)
        table.add_parts(draft, target, split, width)
    return Seen(split, found.skipped, assign_group_ids(found.digests, groups), run.features)


def _classify(request: TrainingRequest, recipe: ExtractRecipe, shared: SharedExtraction, seen: Seen) -> Metrics:
    """Fit, score and save the classifier; return the figures of each part."""
    run, progress, split, group_ids = request.run, request.progress, seen.split, seen.group_ids
    network = shared.network
    assert network is not None
    with progress.track("starting scikit-learn", None):
        from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, LINEAR_FILE
        from transfer_cli.classifiers import fit
        from transfer_cli.features import table

    matrix = table.read(run.features)
    names = split.class_names
    truth = split.truth()
    train, val, test = (split.mask(part) for part in PARTS)
    # The rows that are learnt from: all of train, or a bag of them, in which a picture may be several times.
    rows = np.flatnonzero(train)
    if recipe.bag is not None:
        rows = rows[bootstrap.drawn(recipe.bag, recipe.seed, truth[train], group_ids[train])]
    learnt = np.unique(rows)
    spec = classifiers.find(recipe.classifier.name)
    weights, offsets = _balance(recipe, truth[rows], len(names))
    fitted = fit.fit(
        spec,
        matrix[rows],
        truth[rows],
        classes=len(names),
        tune=bool(recipe.classifier.tune),
        seconds=recipe.classifier.tune_seconds,
        out_of_fold=recipe.bag is None and not val.any(),
        seed=recipe.seed,
        weights=weights,
        groups=group_ids[rows],
        progress=progress,
    )

    def given(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return fit.probabilities(fitted.pipeline, rows, len(names))

    _write_history(fitted, spec, run)
    scored = {}
    if fitted.out_of_fold is not None:
        known = ~np.isnan(fitted.out_of_fold[:, 0])
        scored["val"] = rows[known], remove_log_prior(fitted.out_of_fold[known], offsets)
    out_of_bag = np.setdiff1d(np.flatnonzero(train), learnt)
    if len(out_of_bag) and not val.any():
        scored["val"] = out_of_bag, remove_log_prior(given(matrix[out_of_bag]), offsets)
    for part, mask in (("val", val), ("test", test)):
        if mask.any():
            scored[part] = np.flatnonzero(mask), remove_log_prior(given(matrix[mask]), offsets)
    fitted_on_val = fit_on_val.fit(recipe, split, matrix, learnt, scored, groups=group_ids)
    metrics = score_parts(run, split, fitted_on_val.calibrated(scored), fitted_on_val.thresholds)
    lifecycle.must_be_good_enough(request, metrics, _val_note(recipe, split))

    def save(directory: Path) -> None:
        shared.save_network(network, directory / BACKBONE_FILE, directory / GRAPH_FILE)
        fit.save(fitted.pipeline, directory / CLASSIFIER_FILE)
        fitted_on_val.save(directory)
        # Of a bag, what is not in it had a say in how sure the model is.
        held_out = (row.sha256 for row in split.rows if row.part != "test")
        TrainingImages.of((split.rows[row].sha256 for row in learnt), held_out).save(directory / LEARNT_FILE)
        if not spec.linear:
            return
        folded = Linear.fold(fitted.pipeline, len(names))
        if folded.is_like(given, matrix):
            folded.save(directory / LINEAR_FILE)
        else:
            progress.warn("predicting will start more slowly: as one matrix the classifier gives other probabilities")

    bundle = lifecycle.new_bundle("features", recipe, split, network.width, run, fitted_on_val)
    bundle = bundle.model_copy(update={"log_prior": offsets})

    def save_all(directory: Path) -> None:
        save(directory)
        lifecycle.write_card(request, directory, bundle, split, metrics, fitted_on_val, _val_note(recipe, split))

    bundle.write(run.model, save_all)
    shared.model = run.model
    return metrics


def _balance(
    recipe: ExtractRecipe, truth: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64] | None, tuple[float, ...] | None]:
    """Return what a picture of each class counts, and what of how common it is is taken out of its probability."""
    spec = class_balancing.find(recipe.balance.method)
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
