"""Rejection: label an image ``unknown`` if the prediction is unsure or the image is unlike the training images.

References
----------
Y. Geifman, R. El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017 (coverage and risk).
Y. Sun, Y. Ming, X. Zhu, Y. Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022 (distance).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import check_numeric, read_arrays

REJECTION_FILE = "rejection.npz"
"""Its name in a bundle."""
COVERAGE = 0.92
"""Default share of validation images that keep their label, see docs/benchmarks.md."""
NEIGHBOURS = 5
LOW_CONFIDENCE, UNLIKE_TRAINING = "low confidence", "unlike training images"
"""The reasons for a rejection, as written to the column ``reason``."""
LENIENCE = 3
"""The confidence quantile is multiplied by it: the distance detects out-of-distribution images better than the
confidence does, see docs/benchmarks.md."""
_FEW_IMAGES = 50
_MAX_BYTES = 8_000_000
_MAX_ROWS = 10_000
_CHUNK = 1024

Rows = NDArray[np.float32]
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class RejectionThreshold:
    """A threshold on the score, and its effect on the validation set.

    Attributes
    ----------
    score : float
        Images with a lower score are rejected.
    coverage : float
        Share of the validation images that keep their label.
    error_rate, error_rate_of_all : float
        Share of wrong predictions among these, and among all validation images.
    images : int
        Number of validation images.
    """

    score: float
    coverage: float
    error_rate: float
    error_rate_of_all: float
    images: int

    def summary(self) -> str:
        """Return one line of text."""
        few = f"; unreliable, since there are only {self.images}" if self.images < _FEW_IMAGES else ""
        return (
            f"{self.coverage:.0%} of validation images keep a label; {self.error_rate:.0%} of those are wrong "
            f"({self.error_rate_of_all:.0%} without the threshold){few}"
        )


@dataclass(frozen=True)
class Rejection:
    """Scores how typical an image is, from the confidence and the distance to the training images.

    The distance is the mean cosine distance between the image's features and those of its nearest training images
    (Sun et al. 2022), divided by the median of that distance among training images. Confidence and distance each
    become a quantile: the share of validation images that are as atypical or more so. The score is the smaller of the
    two quantiles, after that of the confidence was multiplied by `LENIENCE`, so one threshold applies to both.

    Attributes
    ----------
    reference : ndarray of shape (m, width), float16
        Features of training images, normalised to length 1.
    unit : ndarray of shape (), float32
        Median distance among them.
    confidence : ndarray of shape (v,), float32
        Probability of the predicted class of each validation image, ascending.
    distance : ndarray of shape (v,), float32
        Their distances in units, ascending.
    score : ndarray of shape (v,), float32
        Their scores, ascending.
    wrong : ndarray of shape (v,), bool
        Whether their predictions were wrong, in the order of `score`.
    """

    reference: NDArray[np.float16]
    unit: Rows
    confidence: Rows
    distance: Rows
    score: Rows
    wrong: NDArray[np.bool_]

    @classmethod
    def fit(
        cls,
        features: Rows,
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        probabilities: Rows,
        truth: NDArray[np.int64],
        seed: int = 0,
        *,
        earlier: tuple[Rows, Rows] | None = None,
        groups: Groups | None = None,
    ) -> Rejection | None:
        """Fit on validation images; return None if there are none, or no training images to compare with.

        Parameters
        ----------
        features : ndarray of shape (n, width), float32
            Features of all images.
        train : ndarray of int
            Rows of the training images.
        val : ndarray of shape (v,), int
            Rows of the validation images. If one is a training image, it is compared with the others only.
        probabilities : ndarray of shape (v, k), float32
            Calibrated predictions by a model that was not trained on these images.
        truth : ndarray of shape (v,), int
        seed : int
            Random seed of the sample, if there are more than 10,000 images.
        earlier : tuple of two ndarrays, optional
            Features of train and of val by the network that predicted val, if the final network was trained on val
            (refit). Otherwise validation images would be closer to the training images than new ones.
        groups : ndarray of shape (n,), int, optional
            Group ids of all images; images of one group are not compared with each other.
        """
        groups = np.arange(len(features)) if groups is None else groups
        random = np.random.default_rng(seed)
        most = min(_MAX_ROWS, max(_MAX_BYTES // (2 * features.shape[1]), 2 * NEIGHBOURS))
        places = np.sort(random.permutation(len(train))[:most])
        chosen = np.sort(random.permutation(len(val))[:_MAX_ROWS])
        sample = train[places]
        if len(sample) and (groups[sample] == groups[sample[0]]).all():
            # The sample is a single group, so images of that group have nothing to be compared with.
            chosen = chosen[groups[val[chosen]] != groups[sample[0]]]
        if len(sample) < 2 or not len(chosen):
            return None
        reference = _normalise(features[sample]).astype(np.float16)
        val_groups, train_groups = groups[val[chosen]], groups[sample]
        unit = _typical_distance(reference, train_groups)
        if earlier is None:
            distance = _distance(reference, features[val[chosen]], val_groups, train_groups) / unit
        else:
            before = _normalise(earlier[0][places]).astype(np.float16)
            distance = _distance(before, earlier[1][chosen], val_groups, train_groups)
            distance /= _typical_distance(before, train_groups)
        confidence = probabilities[chosen].max(axis=1)
        wrong = probabilities[chosen].argmax(axis=1) != truth[chosen]
        empty = np.empty(0, np.float32)
        fitted = cls(reference, np.asarray(unit, np.float32), np.sort(confidence), np.sort(distance), empty, wrong)
        score = np.minimum(*fitted._quantiles(confidence, distance))
        order = np.argsort(score, kind="stable")
        return replace(fitted, score=score[order], wrong=wrong[order])

    @classmethod
    def load(cls, path: Path) -> Rejection:
        """Read a file that `save` wrote; raise ModelError if it holds anything else."""
        arrays = read_arrays(path, *cls.__dataclass_fields__)
        loaded = cls(*(check_numeric(path, arrays[name]) for name in cls.__dataclass_fields__))
        count, vectors = loaded.score.size, (loaded.confidence, loaded.distance, loaded.score, loaded.wrong)
        vectors_match = count > 0 and all(array.shape == (count,) for array in vectors)
        is_reference = loaded.reference.ndim == 2 and len(loaded.reference) > 1
        if not (vectors_match and is_reference and loaded.unit.shape == () and loaded.unit > 0):
            raise ModelError(f"{path} holds arrays whose shapes do not match. Use an unaltered copy.")
        return loaded

    def save(self, path: Path) -> None:
        """Write the arrays as .npz, without pickle."""
        np.savez(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    def threshold_for(self, coverage: float = COVERAGE) -> RejectionThreshold:
        """Return the threshold with which a share of the validation images keep their label, or more if scores tie."""
        count = len(self.score)
        # The small number keeps a rounding error from rejecting one more image.
        first = min(int(np.floor((1 - coverage) * count + 1e-9)), count - 1)
        threshold = float(self.score[first])
        kept = self.score >= threshold
        error_rates = float(self.wrong[kept].mean()), float(self.wrong.mean())
        return RejectionThreshold(threshold, float(kept.mean()), *error_rates, count)

    def quantiles(self, probabilities: Rows, features: Rows) -> tuple[Rows, Rows]:
        """Return the share of validation images that are as atypical as an image or more so, from 0 to 1.

        Parameters
        ----------
        probabilities : ndarray of shape (n, k), float32
        features : ndarray of shape (n, width), float32

        Returns
        -------
        tuple of two ndarrays of shape (n,), float32
            By confidence, multiplied by `LENIENCE`, and by distance.

        Raises
        ------
        ModelError
            If the features have another width than those of the training images.
        """
        if features.shape[1] != self.reference.shape[1]:
            raise ModelError(
                f"{REJECTION_FILE} was fitted on {self.reference.shape[1]} features per image, but the network gives "
                f"{features.shape[1]}. Use an unaltered copy of the model."
            )
        distance = _distance(self.reference, features) / self.unit
        return self._quantiles(probabilities.max(axis=1), distance)

    def scores(self, probabilities: Rows, features: Rows) -> Rows:
        """Return the smaller one of the two `quantiles`, of shape (n,)."""
        return np.minimum(*self.quantiles(probabilities, features))

    def _quantiles(self, confidence: Rows, distance: Rows) -> tuple[Rows, Rows]:
        count = len(self.confidence)
        by_confidence = np.minimum(LENIENCE * np.searchsorted(self.confidence, confidence, "right") / count, 1)
        by_distance = 1 - np.searchsorted(self.distance, distance, "left") / count
        return by_confidence.astype(np.float32), by_distance.astype(np.float32)


def _typical_distance(reference: NDArray[np.float16], groups: Groups) -> float:
    """Return the median distance between images of different groups, at least 1e-6."""
    group_ids = groups if len(np.unique(groups)) > 1 else np.arange(len(groups))
    median = np.median(_distance(reference, reference.astype(np.float32), group_ids, group_ids))
    return max(float(median), 1e-6)


def _normalise(features: Rows) -> Rows:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths, lengths, 1), np.float32)


def _distance(
    reference: NDArray[np.float16],
    features: Rows,
    groups: Groups | None = None,
    reference_groups: Groups | None = None,
) -> Rows:
    """Return the mean cosine distance to the nearest rows of the reference that belong to another group."""
    transposed = reference.astype(np.float32).T
    distance = np.empty(len(features), np.float32)
    for start in range(0, len(features), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        cosines = _normalise(features[chunk]) @ transposed
        if groups is not None and reference_groups is not None:
            cosines[groups[chunk][:, None] == reference_groups] = -np.inf
        count = min(NEIGHBOURS, cosines.shape[1] - 1)
        nearest = np.partition(cosines, -count, axis=1)[:, -count:]
        distance[chunk] = 1 - nearest.mean(axis=1)
        # In a small reference fewer rows may be left if one group is a large part of it.
        for row in np.flatnonzero(np.isneginf(nearest).any(axis=1)):
            distance[start + row] = 1 - nearest[row][np.isfinite(nearest[row])].mean()
    return distance
