"""After training: features of all images, metrics on val and test, and the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE, LINEAR_FILE, NETWORK_FILE, TRAINING_IMAGES_FILE
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.calibration import fit
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.inference.compiled_network import PARITY_IMAGES, CompiledNetwork, NetworkSource
from transfer_cli.metrics.scores import Metrics
from transfer_cli.models.classifier_network import ClassifierNetwork, LoadedNetwork
from transfer_cli.models.compile import inference_function
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.scoring import score_parts
from transfer_cli.training.loop.training_data import TrainingData
from transfer_cli.training.setup.bundle import new_bundle, write_card

if TYPE_CHECKING:
    from transfer_cli.training.loop.micro_batches import MicroBatches


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
    def compute(
        cls, network: ClassifierNetwork, data: TrainingData, micro_batches: MicroBatches, batch_size: int
    ) -> PreRefitOutputs:
        """Run a network on its training and validation images."""
        run = micro_batches.run_in_chunks(inference_function(network.below_logits))

        def features(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            starts = range(0, len(rows), batch_size)
            return np.concatenate([run(data.images[rows[start : start + batch_size]]) for start in starts])

        of_val, rows = features(data.val), np.unique(data.train)
        return cls(network.read_out.probabilities(of_val), of_val, features(rows), rows)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and the images that it was trained on.

    Attributes
    ----------
    network : ClassifierNetwork or LoadedNetwork
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
    """

    network: ClassifierNetwork | LoadedNetwork
    images: NDArray[np.uint8]
    train: NDArray[np.int64]
    pre_refit: PreRefitOutputs | None = None
    val_fit: fit.ValFit | None = None
    recipe: Mapping[str, Any] | None = None


class RunFinalizer:
    """Scores a trained network and writes its bundle; see `build`."""

    def __init__(
        self,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        split: Split,
        trained: TrainedNetwork,
        compiled: CompiledNetwork,
        micro_batches: MicroBatches,
    ) -> None:
        self._request, self._recipe, self._split, self._trained = request, recipe, split, trained
        self._compiled, self._micro_batches, self._read_out = compiled, micro_batches, trained.network.read_out
        self._fitted = fit.ValFit()
        self._metrics: Metrics = {}

    @classmethod
    def build(
        cls,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        split: Split,
        trained: TrainedNetwork,
        micro_batches: MicroBatches,
    ) -> RunFinalizer:
        """Convert the network below its last layer for the runtime of the recipe, and check it on training images."""
        network, rows = trained.network, np.unique(trained.train)
        source = NetworkSource({}, lambda: network.below_logits, classifier=network.read_out.probabilities)
        compiled = CompiledNetwork.build(source, recipe.inference, None, request.progress)
        if not compiled.is_checked:
            compiled.check(trained.images[rows[: micro_batches.at_most(PARITY_IMAGES)]])
        return cls(request, recipe, split, trained, compiled, micro_batches)

    def score(self) -> Metrics:
        """Write features and predictions; return the metrics on val (before any refit) and test."""
        run, split, pre_refit, val_fit = self._request.run, self._split, self._trained.pre_refit, self._trained.val_fit
        matrix = self._features()
        table.write(run.features, split, matrix)
        outputs = {}
        for part in ("val", "test"):
            rows = np.flatnonzero(split.mask(part))
            if len(rows) and (part == "test" or val_fit is None):
                before = pre_refit.probabilities if part == "val" and pre_refit else None
                outputs[part] = rows, self._read_out.probabilities(matrix[rows]) if before is None else before
        earlier = (pre_refit.train, pre_refit.val) if pre_refit else None
        self._fitted = val_fit or fit.fit(self._recipe, split, matrix, self._reference_rows(), outputs, earlier=earlier)
        self._metrics = score_parts(run, split, self._fitted.calibrate(outputs), self._fitted.thresholds)
        return self._metrics

    def save(self, val_note: str) -> None:
        """Write the bundle; `val_note` qualifies the metrics on val in its model card."""
        request, split, fitted, network = self._request, self._split, self._fitted, self._trained.network
        bundle = new_bundle("network", self._recipe, split, network.width, request.run, fitted)
        if self._trained.recipe is not None:
            bundle = bundle.model_copy(update={"recipe": self._trained.recipe})

        def save(folder: Path) -> None:
            network.whole.save(folder / NETWORK_FILE)
            self._compiled.save_graph(folder / GRAPH_FILE)
            self._read_out.save(folder / LINEAR_FILE)
            fitted.save(folder)
            train = [split.rows[row].sha256 for row in np.unique(self._trained.train)]
            val = (row.sha256 for row in split.rows if row.part == "val")
            TrainingImages.of(train, val).save(folder / TRAINING_IMAGES_FILE)
            write_card(request, folder, bundle, split, self._metrics, fitted, val_note)

        bundle.write(request.run.model, save)

    def _reference_rows(self) -> NDArray[np.int64]:
        """Return the training images with which new images are compared: those of train, without val."""
        if self._trained.pre_refit is not None:
            return self._trained.pre_refit.rows
        return np.intersect1d(self._trained.train, np.flatnonzero(self._split.mask("train")))

    def _features(self) -> NDArray[np.float32]:
        """Return what the last layer reads of every image, float32 of shape (n, width)."""
        size, count = self._recipe.batch_size, len(self._split.rows)
        run = self._micro_batches.run_in_chunks(self._compiled)
        matrix = np.empty((count, self._compiled.width), np.float32)
        with self._request.progress.track("scoring", count) as advance:
            for start in range(0, count, size):
                images = self._trained.images[start : start + size]
                matrix[start : start + len(images)] = run(images)
                advance(len(images))
        return matrix
