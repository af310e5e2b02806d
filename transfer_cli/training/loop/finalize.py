"""What is made of a network that has learnt: features of all pictures, scores, the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE, LINEAR_FILE, NETWORK_FILE
from transfer_cli.bundle.training_images import LEARNT_FILE, TrainingImages
from transfer_cli.calibration import fit
from transfer_cli.data.split import Split
from transfer_cli.features import table
from transfer_cli.inference.compiled_network import CHECKED, CompiledNetwork, Source
from transfer_cli.metrics.scores import Metrics
from transfer_cli.models.classifier_network import Network, Whole
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.scoring import score_parts
from transfer_cli.training.setup import lifecycle

if TYPE_CHECKING:
    from transfer_cli.training.loop.micro_batches import MicroBatches


@dataclass(frozen=True)
class PreRefitOutputs:
    """What a network said before it learnt from val.

    Attributes
    ----------
    probabilities : ndarray of shape (v, k), float32
        Of the pictures of val.
    val : ndarray of shape (v, width), float32
        Their features.
    train : ndarray of shape (t, width), float32
        The features of the pictures of train, to which the distances of val belong.
    rows : ndarray of shape (t,), int
        Which pictures these are.
    """

    probabilities: NDArray[np.float32]
    val: NDArray[np.float32]
    train: NDArray[np.float32]
    rows: NDArray[np.int64]


class RunFinalizer:
    """The end of a fine-tuning.

    The network below its last layer is converted and compared with Keras on train pictures; all pictures go through it
    once, and what the last layer makes of that is what the bundle will say.

    Parameters
    ----------
    request : Request
    recipe : FinetuneRecipe
        Resolved.
    split : Split
    network : Network
    images : ndarray of shape (n, size, size, 3), uint8
        In the order of the split.
    learnt : ndarray of int
        The rows that the network has learnt from.
    before : Before or None
        What was said of val before it was learnt from; None where it was not.
    micro_batches : MicroBatches
    known : Trust, optional
        How sure the network should be, where val cannot say it, since it was learnt from; val is then not scored.
    made_by : mapping, optional
        What the bundle says of the choices it was made with, where that is not the recipe.
    """

    def __init__(
        self,
        request: TrainingRequest,
        recipe: FinetuneRecipe,
        split: Split,
        network: Network | Whole,
        images: NDArray[np.uint8],
        learnt: NDArray[np.int64],
        before: PreRefitOutputs | None,
        micro_batches: MicroBatches,
        *,
        known: fit.ValFit | None = None,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._request, self._recipe, self._split = request, recipe, split
        self._network, self._images, self._before, self._micro_batches = network, images, before, micro_batches
        self._learnt = np.unique(learnt)
        self._known, self._made_by = known, made_by
        self._read_out = network.read_out
        source = Source({}, lambda: network.below_logits, read_out=self._read_out.probabilities)
        self._prepared = CompiledNetwork(source, recipe.inference, None, request.progress)
        if not self._prepared.is_checked:
            self._prepared.check(images[self._learnt[: micro_batches.at_most(CHECKED)]])
        self._fitted = fit.ValFit()
        self._metrics: Metrics = {}

    def score(self) -> Metrics:
        """Write features and predictions; return the figures of val (before it was learnt from) and test."""
        run, split = self._request.run, self._split
        matrix = self._features()
        table.write(run.features, split, matrix)
        scored = {}
        for part in ("val", "test"):
            rows = np.flatnonzero(split.mask(part))
            if len(rows) and (part == "test" or self._known is None):
                known = self._before.probabilities if part == "val" and self._before else None
                scored[part] = rows, self._read_out.probabilities(matrix[rows]) if known is None else known
        train = self._compared_with()
        earlier = (self._before.train, self._before.val) if self._before else None
        self._fitted = self._known or fit.fit(self._recipe, split, matrix, train, scored, earlier=earlier)
        self._metrics = score_parts(run, split, self._fitted.calibrated(scored), self._fitted.thresholds)
        return self._metrics

    def save(self, val_note: str) -> None:
        """Write the bundle.

        Parameters
        ----------
        val_note : str
            What the figures of val are.
        """
        request, split, fitted = self._request, self._split, self._fitted
        bundle = lifecycle.new_bundle("network", self._recipe, split, self._network.width, request.run, fitted)
        if self._made_by is not None:
            bundle = bundle.model_copy(update={"recipe": self._made_by})

        def save(folder: Path) -> None:
            self._network.whole.save(folder / NETWORK_FILE)
            self._prepared.save_graph(folder / GRAPH_FILE)
            self._read_out.save(folder / LINEAR_FILE)
            fitted.save(folder)
            learnt = [split.rows[row].sha256 for row in self._learnt]
            TrainingImages.of(learnt, (row.sha256 for row in split.rows if row.part == "val")).save(
                folder / LEARNT_FILE
            )
            lifecycle.write_card(request, folder, bundle, split, self._metrics, fitted, val_note)

        bundle.write(request.run.model, save)

    def _compared_with(self) -> NDArray[np.int64]:
        """Return the rows of train that were learnt from, with which new pictures are compared."""
        if self._before is not None:
            return self._before.rows
        return np.intersect1d(self._learnt, np.flatnonzero(self._split.mask("train")))

    def _features(self) -> NDArray[np.float32]:
        """Return what the last layer reads of every picture, float32 of shape (n, width)."""
        run, size, count = (
            self._micro_batches.run_in_chunks(self._prepared),
            self._recipe.batch_size,
            len(self._split.rows),
        )
        matrix = np.empty((count, self._prepared.width), np.float32)
        with self._request.progress.track("scoring", count) as advance:
            for at in range(0, count, size):
                images = self._images[at : at + size]
                matrix[at : at + len(images)] = run(images)
                advance(len(images))
        return matrix
