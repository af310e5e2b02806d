"""After training: features of all images, metrics on val and test, and the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE, LINEAR_FILE, NETWORK_FILE, TRAINING_IMAGES_FILE
from transfer_cli.bundle.model_card import ModelCard
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.calibration import fit
from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.features.fingerprints import Fingerprints
from transfer_cli.inference.compiled_network import PARITY_IMAGES, CompiledNetwork, NetworkSource
from transfer_cli.metrics.scores import Metrics
from transfer_cli.models.classifier_network import ClassifierNetwork, LoadedNetwork
from transfer_cli.models.compile import inference_function
from transfer_cli.models.keras_file import save_keras
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.accuracy_gate import check_accuracy
from transfer_cli.runs.earlier_images import with_earlier_images
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.scoring import score_parts
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.gain import report_gain
from transfer_cli.training.loop.micro_batches import MicroBatches
from transfer_cli.training.setup.bundle import new_bundle
from transfer_cli.training.setup.earlier_leakage import seen_by_earlier_run
from transfer_cli.training.setup.leakage import leaked_rows


@dataclass(frozen=True)
class PreRefitOutputs:
    """Outputs of a network before a refit trained it on the validation images.

    Attributes
    ----------
    probabilities : ndarray of shape (v, k), float32
        Predictions on val.
    val : ndarray of shape (v, width), float32
        Features of the validation images.
    train : ndarray of shape (t, width), float32
        Features of the training images, with which those of val are compared to reject unfamiliar images.
    rows : ndarray of shape (t,), int
        Row numbers of these training images.
    """

    probabilities: NDArray[np.float32]
    val: NDArray[np.float32]
    train: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def compute(cls, context: StageContext, data: TrainingData) -> PreRefitOutputs:
        """Run a network on its training and validation images."""
        network, rows = context.network, np.unique(data.train)
        run, width = inference_function(network.below_logits), network.below_logits.output_shape[-1]
        val, train = (
            context.micro_batches.fill(np.empty((len(each), width), np.float32), run, data.images, each)
            for each in (data.val, rows)
        )
        return cls(network.read_out.probabilities(val), val, train, rows)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and the images that it was trained on.

    Attributes
    ----------
    network : ClassifierNetwork or LoadedNetwork
    micro_batches : MicroBatches
    split : Split
    images : ndarray of shape (n, size, size, 3), uint8
        In the order of the split.
    train : ndarray of int
        Row numbers of the images that trained it.
    pre_refit : PreRefitOutputs or None
        If val is among these: the outputs before.
    val_fit : ValFit or None
        Calibration and thresholds, if val cannot fit them, since the network was trained on it; val is then not scored.
    recipe : mapping or None
        Written into the bundle instead of the recipe of the training.
    probe : mapping of str to ndarray of shape (n, k), float32
        By part, the probabilities of the linear probe that the network is compared with; none without a comparison.
    """

    network: ClassifierNetwork | LoadedNetwork
    micro_batches: MicroBatches
    split: Split
    images: NDArray[np.uint8]
    train: NDArray[np.int64]
    pre_refit: PreRefitOutputs | None = None
    val_fit: fit.ValFit | None = None
    recipe: Mapping[str, Any] | None = None
    probe: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def finalize(request: TrainingRequest, recipe: FinetuneRecipe, trained: TrainedNetwork, val_note: str) -> Metrics:
    """Score a network on val (before any refit) and test, and write its bundle; return the metrics.

    Parameters
    ----------
    request : TrainingRequest
    recipe : FinetuneRecipe
        Resolved.
    trained : TrainedNetwork
    val_note : str
        Qualifies the metrics on val in the model card.

    Raises
    ------
    GateError
        If the accuracy is below the minimum of the request. Everything but the bundle is written.
    """
    split, pre_refit, val_fit = trained.split, trained.pre_refit, trained.val_fit
    compiled, read_out = _below_logits(request, recipe, trained), trained.network.read_out
    matrix = np.empty((len(split.rows), compiled.width), np.float32)
    with request.progress.track("scoring", len(matrix)) as advance:
        trained.micro_batches.fill(matrix, compiled, trained.images, np.arange(len(matrix)), advance)
    table.write(request.run.features, split, matrix)
    outputs = {}
    for part in ("val", "test"):
        rows = np.flatnonzero(split.mask(part))
        if len(rows) and (part == "test" or val_fit is None):
            before = pre_refit.probabilities if part == "val" and pre_refit else None
            outputs[part] = rows, read_out.probabilities(matrix[rows]) if before is None else before
    # New images are compared with those of train, without val.
    reference = pre_refit.rows if pre_refit else np.intersect1d(trained.train, np.flatnonzero(split.mask("train")))
    earlier = (pre_refit.train, pre_refit.val) if pre_refit else None
    fitted = val_fit or fit.fit(recipe, split, matrix, reference, outputs, earlier=earlier)
    prints, grouped = Fingerprints.of_images(trained.images), recipe.split.group_by is not None
    leaked = leaked_rows(request, split, prints, matrix, grouped) | seen_by_earlier_run(request, recipe, split)
    metrics = score_parts(request.run, split, fitted.calibrate(outputs), fitted.thresholds, leaked)
    report_gain(request, split, trained.probe, outputs)
    check_accuracy(request, metrics, val_note)

    def save(folder: Path) -> None:
        save_keras(trained.network.whole, folder / NETWORK_FILE)
        compiled.save_graph(folder / GRAPH_FILE)
        read_out.save(folder / LINEAR_FILE)
        fitted.save(folder)
        train = [split.rows[row].sha256 for row in np.unique(trained.train)]
        val = (row.sha256 for row in split.rows if row.part == "val")
        images = with_earlier_images(TrainingImages.of(train, val), request.run)
        images.save(folder / TRAINING_IMAGES_FILE)
        skipped = len(read_skipped(request.run.skipped))
        ModelCard(bundle, split, metrics, fitted, request.folder.name, skipped, val_note).write(folder)

    bundle = new_bundle("network", recipe, split, trained.network.width, request.run, fitted)
    if trained.recipe is not None:
        bundle = bundle.model_copy(update={"recipe": trained.recipe})
    bundle.write(request.run.model, save)
    return metrics


def _below_logits(request: TrainingRequest, recipe: FinetuneRecipe, trained: TrainedNetwork) -> CompiledNetwork:
    """Convert the network below its last layer for the runtime of the recipe, and check it on training images."""
    network, rows = trained.network, np.unique(trained.train)
    source = NetworkSource({}, lambda: network.below_logits, classifier=network.read_out.probabilities)
    compiled = CompiledNetwork.build(source, recipe.inference, None, request.progress)
    if not compiled.is_checked:
        compiled.check(trained.images[rows[: trained.micro_batches.at_most(PARITY_IMAGES)]])
    return compiled
