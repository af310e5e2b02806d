"""The network that a fine-tuning keeps: a classifier fitted to its features, averaged with the linear probe.

A head that was trained along with a changing network on augmented images is not the best one for its features. The mean
of the logits of the fine-tuned and the pretrained network errs less than either where training images are few, and is
less sure of its mistakes: measurements are in docs/finetuning.md. Both are one graph, with the layers below the trained
ones in common.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from transfer_cli.models.pretrained_branch import join, pretrained_branch
from transfer_cli.progress import SILENT, Progress
from transfer_cli.training.loop.checkpoints import Arrays
from transfer_cli.training.loop.class_balancing import Balancing
from transfer_cli.training.loop.context import TrainingContext, TrainingData
from transfer_cli.training.loop.finalize import PreRefitOutputs
from transfer_cli.training.loop.probe_share import USUAL_SHARE, probe_is_better

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """The features at some weights, and a classifier for them that has not been trained on the validation images.

    Attributes
    ----------
    features : ndarray of shape (n, width), float32
        In the order of the images; rows that it was not asked for are zero.
    classifier : Linear
    """

    features: Matrix
    classifier: Linear

    def and_probe(self, probe: Candidate, share: float) -> Candidate:
        """Return the mean of the logits of both, the probe with a share, for the features of both joined."""
        features = np.concatenate([self.features, probe.features], axis=1)
        return Candidate(features, mean_of(self.classifier, probe.classifier, share))


@dataclass(frozen=True)
class Choice:
    """The chosen share of the linear probe, and what it is compared with.

    Attributes
    ----------
    share : float
        Of the probe in the logits; 1: the pretrained network is kept.
    trained : Candidate or None
        At the weights that are kept; None if these are the pretrained ones.
    pretrained : Candidate
        The linear probe, the same classifier on the pretrained network.
    probe : Linear
        The linear probe after it was trained on the validation images, too.
    outputs : mapping of str to ndarray of shape (n, k), float32
        Probabilities of the linear probe by part: val (before that), test.
    """

    share: float
    trained: Candidate | None
    pretrained: Candidate
    probe: Linear
    outputs: Mapping[str, Matrix]

    @property
    def kept(self) -> Candidate:
        """What the result would be without the validation images."""
        if self.trained is None:
            return self.pretrained
        return self.trained.and_probe(self.pretrained, self.share) if self.share else self.trained


class FinalNetwork:
    """Fits classifiers to the features of a network with pretrained and with trained weights, and joins both.

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
        """Choose how much of the linear probe the result has; the network keeps the trained weights."""
        context, data, trained = self.context, self.data, self.context.weights()
        test, final = np.flatnonzero(context.split.mask("test")), self.context.recipe.final
        fitting = np.union1d(data.train, data.val)
        self.mix(trained, 0)
        # On test the result is compared with the probe.
        pretrained = self._candidate(np.union1d(fitting, test))
        changed = None
        if context.trainable and final.interpolate > 0 and final.probe != 1:
            self.mix(trained, final.interpolate)
            changed = self._candidate(fitting)
        context.set_weights(trained)
        share = 1.0 if changed is None else self._share(pretrained, changed)
        probe = self.fit(pretrained.features, data.with_val_in_train().train, SILENT)
        outputs = {part: rows for part, rows in (("val", data.val), ("test", test)) if len(rows)}
        by_part = {"val": pretrained.classifier, "test": probe}
        predicted = {part: by_part[part].probabilities(pretrained.features[rows]) for part, rows in outputs.items()}
        return Choice(share, changed if share < 1 else None, pretrained, probe, predicted)

    def build(self, choice: Choice, data: TrainingData, *, is_refit: bool) -> LoadedNetwork:
        """Return the chosen network at its present weights, with a classifier fitted to `data.train`.

        Parameters
        ----------
        choice : Choice
        data : TrainingData
        is_refit : bool
            Whether the network has been trained since the choice.
        """
        trained = self.context.weights()
        self.mix(trained, 0)
        if choice.trained is None:
            return with_classifier(self._network, choice.probe)
        branch = pretrained_branch(self._network, self.context.trainable) if choice.share else None
        self.mix(trained, self.context.recipe.final.interpolate)
        features = self.features(np.unique(data.train)) if is_refit else choice.trained.features
        classifier = self.fit(features, data.train, self.context.progress)
        if branch is None:
            return with_classifier(self._network, classifier)
        return with_classifier(join(self._network, branch), mean_of(classifier, choice.probe, choice.share))

    def pre_refit(self, choice: Choice) -> PreRefitOutputs | None:
        """Return the outputs on train and val before the classifier is trained on val; None without val."""
        val, train, kept = self.data.val, np.unique(self.data.train), choice.kept
        if not len(val):
            return None
        probabilities = kept.classifier.probabilities(kept.features[val])
        return PreRefitOutputs(probabilities, kept.features[val], kept.features[train], train)

    def _share(self, pretrained: Candidate, trained: Candidate) -> float:
        wanted = self.context.recipe.final.probe
        if wanted != "auto":
            return wanted
        if not len(self.data.val):
            return USUAL_SHARE
        probe, mean = (self._losses(each) for each in (pretrained, trained.and_probe(pretrained, USUAL_SHARE)))
        share = 1.0 if probe_is_better(probe, mean) else USUAL_SHARE
        losses = {"probe": float(probe.mean()), "with_fine_tuning": float(mean.mean())}
        self.context.run.log("share", probe=share, val_log_loss=losses)
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

    def _candidate(self, rows: NDArray[np.int64]) -> Candidate:
        features = self.features(rows)
        return Candidate(features, self.fit(features, self.data.train, SILENT))

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


def mean_of(trained: Linear, probe: Linear, share: float) -> Linear:
    """Return the mean of two linear classifiers' logits, the second with a share, for both features joined."""
    kernel = np.concatenate([(1 - share) * trained.kernel, share * probe.kernel])
    return replace(trained, kernel=kernel, bias=(1 - share) * trained.bias + share * probe.bias)
