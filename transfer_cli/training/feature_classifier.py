"""The classifier of an extract run: fitted on features, scored, and written as a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import BACKBONE_FILE, CLASSIFIER_FILE, GRAPH_FILE, LINEAR_FILE, TRAINING_IMAGES_FILE
from transfer_cli.bundle.model_card import ModelCard
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.calibration import fit as calibration
from transfer_cli.calibration.fit import PartProbabilities
from transfer_cli.catalog import class_balancing
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.fit import Fitted
from transfer_cli.classifiers.linear import Linear, remove_log_prior
from transfer_cli.data import bootstrap
from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.features.shared_extraction import ExtractedFolder, SharedExtraction
from transfer_cli.io.csv_tables import write_table
from transfer_cli.metrics.scores import Metrics
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.accuracy_gate import check_accuracy
from transfer_cli.runs.earlier_images import with_earlier_images
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.scoring import score_parts
from transfer_cli.training.setup.bundle import new_bundle
from transfer_cli.training.setup.earlier_leakage import seen_by_earlier_run
from transfer_cli.training.setup.leakage import leaked_rows


@dataclass(frozen=True)
class FeatureClassifier:
    """A classifier fitted on features, and the data that it was fitted on.

    Attributes
    ----------
    fitted : Fitted
    split : Split
    features : ndarray of shape (n, width), float32
        Of all images, in the order of the split.
    rows : ndarray of int
        The rows that it was fitted on: all of train, or a bootstrap sample in which a row may occur several times.
    log_prior : tuple of float or None
        The share of each class that is removed from the probabilities.
    """

    fitted: Fitted
    split: Split
    features: NDArray[np.float32]
    rows: NDArray[np.int64]
    log_prior: tuple[float, ...] | None

    @property
    def predict(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Function from features of shape (n, width) to probabilities of shape (n, k)."""
        return partial(fit.probabilities, self.fitted.pipeline, classes=len(self.split.class_names))


def train_classifier(
    request: TrainingRequest, recipe: ExtractRecipe, extracted: ExtractedFolder, shared: SharedExtraction, val_note: str
) -> Metrics:
    """Fit the classifier of a recipe, calibrate it on val, score it, and write its bundle; return the metrics.

    Parameters
    ----------
    request : TrainingRequest
    recipe : ExtractRecipe
        Resolved.
    extracted : ExtractedFolder
    shared : SharedExtraction
        Has the network.
    val_note : str
        Qualifies the metrics on val in the model card.

    Raises
    ------
    GateError
        If the accuracy is below the minimum of the request. Everything but the bundle is written.
    """
    classifier, run, network = _fit(request, recipe, extracted), request.run, shared.network
    split, trained, scored = classifier.split, np.unique(classifier.rows), _predictions(classifier)
    val_fit = calibration.fit(recipe, split, classifier.features, trained, scored, groups=extracted.group_ids)
    if shared.leaked is None and extracted.prints is not None:
        grouped = recipe.split.group_by is not None
        with request.progress.track("comparing the parts", None):
            own = leaked_rows(request, split, extracted.prints, classifier.features, grouped)
            shared.leaked = own | seen_by_earlier_run(request, recipe, split)
    metrics = score_parts(run, split, val_fit.calibrate(scored), val_fit.thresholds, shared.leaked)
    check_accuracy(request, metrics, val_note)
    assert network is not None
    bundle = new_bundle("features", recipe, split, network.width, run, val_fit)
    bundle = bundle.model_copy(update={"log_prior": classifier.log_prior})

    def save(directory: Path) -> None:
        shared.save_network(network, directory / BACKBONE_FILE, directory / GRAPH_FILE)
        fit.save(classifier.fitted.pipeline, directory / CLASSIFIER_FILE)
        val_fit.save(directory)
        # The images of train that are not in a bag are held out, and the calibration used them.
        held_out = (row.sha256 for row in split.rows if row.part != "test")
        images = TrainingImages.of((split.rows[row].sha256 for row in trained), held_out)
        with_earlier_images(images, run).save(directory / TRAINING_IMAGES_FILE)
        if recipe.classifier.spec.linear:
            _save_linear(request, classifier, directory)
        skipped = len(read_skipped(request.run.skipped))
        ModelCard(bundle, split, metrics, val_fit, request.folder.name, skipped, val_note).write(directory)

    bundle.write(run.model, save)
    shared.model = run.model
    return metrics


def _fit(request: TrainingRequest, recipe: ExtractRecipe, extracted: ExtractedFolder) -> FeatureClassifier:
    """Fit the classifier on the training images, and write the trials of its tuning."""
    split, group_ids, options = extracted.split, extracted.group_ids, recipe.classifier
    features, truth, train = table.read(request.run.features), split.truth(), split.mask("train")
    rows = np.flatnonzero(train)
    if recipe.bag is not None:
        rows = rows[bootstrap.bootstrap_sample(recipe.bag, recipe.seed, truth[train], group_ids[train])]
    spec = options.spec
    weights, log_prior = _class_balance(recipe, truth[rows], len(split.class_names))
    fitted = fit.fit(
        spec,
        features[rows],
        truth[rows],
        fit.FitOptions(
            classes=len(split.class_names),
            tune=bool(options.tune),
            seconds=options.tune_seconds,
            out_of_fold=recipe.bag is None and not split.mask("val").any(),
            seed=recipe.seed,
            weights=weights,
        ),
        groups=group_ids[rows],
        progress=request.progress,
    )
    table_rows = []
    for trial in fitted.trials:
        chosen = trial.value == fitted.value
        table_rows.append((trial.value, f"{trial.log_loss:.6f}", f"{trial.accuracy:.6f}", "yes" if chosen else "no"))
        request.run.log("trial", **vars(trial), chosen=chosen)
    write_table(request.run.history, (spec.parameter or "value", "log_loss", "accuracy", "chosen"), table_rows)
    return FeatureClassifier(fitted, split, features, rows, log_prior)


def _predictions(classifier: FeatureClassifier) -> dict[str, PartProbabilities]:
    """Return the rows and probabilities of val and test; without a val set, those out of fold or out of bag."""
    scored: dict[str, PartProbabilities] = {}
    split, out_of_fold = classifier.split, classifier.fitted.out_of_fold
    if out_of_fold is not None:
        is_known = ~np.isnan(out_of_fold[:, 0])
        scored["val"] = classifier.rows[is_known], remove_log_prior(out_of_fold[is_known], classifier.log_prior)
    out_of_bag = np.setdiff1d(np.flatnonzero(split.mask("train")), classifier.rows)
    held_out = {
        "val": np.flatnonzero(split.mask("val")) if "val" in split.counts() else out_of_bag,
        "test": np.flatnonzero(split.mask("test")),
    }
    for part, rows in held_out.items():
        if len(rows):
            scored[part] = rows, remove_log_prior(classifier.predict(classifier.features[rows]), classifier.log_prior)
    return scored


def _class_balance(
    recipe: ExtractRecipe, truth: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64] | None, tuple[float, ...] | None]:
    """Return the weight of the images of each class, and the log prior to remove from the probabilities."""
    spec = class_balancing.find(recipe.balance.method)
    if truth.ndim == 2:
        return None, None
    counts = np.maximum(np.bincount(truth, minlength=classes), 1)
    offsets = spec.offsets(counts, recipe.balance)
    return spec.weights_per_class(counts, recipe.balance), tuple(offsets.tolist()) if offsets.any() else None


def _save_linear(request: TrainingRequest, classifier: FeatureClassifier, directory: Path) -> None:
    """Write a linear classifier as one matrix as well, with which `predict` starts without scikit-learn."""
    folded = Linear.fold(classifier.fitted.pipeline, len(classifier.split.class_names))
    if folded.agrees_with(classifier.predict, classifier.features):
        folded.save(directory / LINEAR_FILE)
    else:
        request.progress.warn(
            "cannot fold scaler and classifier into one matrix (probabilities differ): predict will start more slowly"
        )
