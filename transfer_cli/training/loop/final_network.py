"""The network that a fine-tuning keeps: weights between the pretrained and the trained ones, and their own classifier.

A head that was trained along with a changing network on augmented images is not the best one for its features, and the
whole way to the trained weights is often too far for a small folder (Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models"): measurements are in docs/finetuning.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.temperature import apply_temperature, fit_temperature
from transfer_cli.catalog import classifiers
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.linear import Linear
from transfer_cli.metrics.scores import log_loss_per_image
from transfer_cli.models.classifier_network import LoadedNetwork, with_classifier
from transfer_cli.models.compile import inference_function
from transfer_cli.models.feature_levels import with_levels
from transfer_cli.progress import SILENT, Progress
from transfer_cli.training.loop.checkpoints import Arrays
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.context import TrainingContext, TrainingData
from transfer_cli.training.loop.finalize import PreRefitOutputs
from transfer_cli.training.loop.weight_shares import SHARES, USUAL_SHARE, choose_share

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A classifier for the features of weights at one share of the way, fitted without the validation images.

    Attributes
    ----------
    share : float
    features : ndarray of shape (n, width), float32
        In the order of the images; rows that it was not asked for are zero.
    classifier : Linear
    """

    share: float
    features: Matrix
    classifier: Linear


@dataclass(frozen=True)
class Choice:
    """The chosen share, and what it is compared with.

    Attributes
    ----------
    share : float
    features : ndarray of shape (n, width), float32
        Of train and val, at that share; other rows may be zero.
    pre_refit : PreRefitOutputs or None
        Outputs on train and val before the validation images are trained on; None without them.
    probe : mapping of str to ndarray of shape (n, k), float32
        Probabilities of the linear probe, the same classifier on the pretrained network, by part: val, test.
    """

    share: float
    features: Matrix
    pre_refit: PreRefitOutputs | None
    probe: Mapping[str, Matrix]


class FinalNetwork:
    """Mixes pretrained and trained weights of a network, and fits a classifier to the features of each mixture.

    Parameters
    ----------
    context : TrainingContext
    data : TrainingData
        With the validation images apart.
    pretrained : mapping of str to ndarray
        The weights before training.

    Attributes
    ----------
    context, data
    """

    def __init__(self, context: TrainingContext, data: TrainingData, pretrained: Arrays) -> None:
        self.context, self.data, self._pretrained = context, data, pretrained
        self._network = with_levels(context.network.features)
        self._run = inference_function(self._network)

    def choose(self) -> Choice:
        """Choose how far to go from the pretrained to the trained weights, which the network has; it keeps those."""
        context, data, trained = self.context, self.data, self.context.weights()
        test = np.flatnonzero(context.split.mask("test"))
        fitting = np.union1d(data.train, data.val)
        candidates = {}
        for share in self._shares():
            self.mix(trained, share)
            # On test the result is compared with the probe, at share 0.
            candidates[share] = self._candidate(share, np.union1d(fitting, test) if share == 0 else fitting)
        context.set_weights(trained)
        chosen = candidates[self._choose(candidates)]
        probe = self._probe(candidates[0.0], test)
        return Choice(chosen.share, chosen.features, self._pre_refit(chosen), probe)

    def build(self, share: float, data: TrainingData, features: Matrix | None = None) -> LoadedNetwork:
        """Return the network at a share of the way to its present weights, with a classifier fitted to `data.train`.

        Parameters
        ----------
        share : float
        data : TrainingData
        features : ndarray of shape (n, width), float32, optional
            Features of the images at that share, if they are known. [computed]
        """
        self.mix(self.context.weights(), share)
        if features is None:
            features = self.features(np.unique(data.train))
        return with_classifier(self._network, self.fit(features, data.train, self.context.progress))

    @property
    def _wanted(self) -> float:
        wanted = self.context.recipe.final.interpolate
        return USUAL_SHARE if wanted == "auto" else wanted

    @property
    def _is_chosen(self) -> bool:
        return self.context.recipe.final.interpolate == "auto" and len(self.data.val) > 0

    def _shares(self) -> Sequence[float]:
        if not self.context.trainable:
            return (0.0,)
        return SHARES if self._is_chosen else sorted({0.0, self._wanted})

    def _choose(self, candidates: Mapping[float, Candidate]) -> float:
        if len(candidates) == 1:
            return 0.0
        if not self._is_chosen:
            return self._wanted
        losses = {share: self._losses(each) for share, each in candidates.items()}
        share = choose_share(losses)
        for each, loss in losses.items():
            self.context.run.log("share", share=each, val_log_loss=float(loss.mean()), chosen=each == share)
        return share

    def mix(self, trained: Arrays, share: float) -> None:
        """Give the network weights between the pretrained and the trained ones; a sum for each weight, in float32."""
        if share not in (0, 1):
            mixed = {
                name: np.asarray((1 - share) * self._pretrained[name] + share * array, array.dtype)
                for name, array in trained.items()
            }
        else:
            mixed = dict(trained if share else self._pretrained)
        self.context.set_weights(mixed)

    def features(self, rows: NDArray[np.int64]) -> Matrix:
        """Return the features of some rows, in a matrix of all."""
        context, images = self.context, self.data.images
        matrix = np.zeros((len(images), self._network.output_shape[-1]), np.float32)
        with context.progress.track(f"features by {context.recipe.backbone.name}", len(rows)) as advance:
            matrix[rows] = context.micro_batches.fill(matrix[rows], self._run, images, rows, advance)
        return matrix

    def _candidate(self, share: float, rows: NDArray[np.int64]) -> Candidate:
        features = self.features(rows)
        return Candidate(share, features, self.fit(features, self.data.train, SILENT))

    def fit(self, features: Matrix, rows: NDArray[np.int64], progress: Progress) -> Linear:
        """Return the default classifier of `extract`, fitted to some rows."""
        recipe, data, classes = self.context.recipe, self.data, self.context.network.head.output_shape[-1]
        truth = data.truth[rows]
        balancing = Balancing.of(recipe.balance, truth, classes)
        options = fit.FitOptions(
            classes=classes, tune=True, out_of_fold=False, seed=recipe.seed, weights=balancing.weights_per_class
        )
        spec = classifiers.find(classifiers.default(self.context.split.task))
        groups = None if data.groups is None else data.groups[rows]
        fitted = fit.fit(spec, features[rows], truth, options, groups=groups, progress=progress)
        folded = Linear.fold(fitted.pipeline, classes)
        return replace(folded, bias=folded.bias - balancing.offsets)

    def _losses(self, candidate: Candidate) -> NDArray[np.float64]:
        """Return the log loss of each validation image, with the temperature that the run would fit."""
        truth = self.data.truth[self.data.val]
        probabilities = candidate.classifier.probabilities(candidate.features[self.data.val])
        if truth.ndim == 1:
            probabilities = apply_temperature(probabilities, fit_temperature(truth, probabilities))
        return log_loss_per_image(truth, probabilities)

    def _pre_refit(self, chosen: Candidate) -> PreRefitOutputs | None:
        val, train = self.data.val, np.unique(self.data.train)
        if not len(val):
            return None
        probabilities = chosen.classifier.probabilities(chosen.features[val])
        return PreRefitOutputs(probabilities, chosen.features[val], chosen.features[train], train)

    def _probe(self, candidate: Candidate, test: NDArray[np.int64]) -> Mapping[str, Matrix]:
        """Return what the probe predicts for val, and after it was trained on val, too, for test."""
        val, found = self.data.val, {}
        if len(val):
            found["val"] = candidate.classifier.probabilities(candidate.features[val])
        if len(test):
            whole = self.fit(candidate.features, self.data.with_val_in_train().train, SILENT)
            found["test"] = whole.probabilities(candidate.features[test])
        return found
