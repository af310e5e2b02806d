"""When a model should say that it does not know: where it is unsure, or a picture is unlike all it has learnt from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import must_be_numbers, read_arrays

REJECTION_FILE = "rejection.npz"
"""In a bundle."""
COVERAGE = 0.92
"""The share of the pictures of val that are kept unless a person says otherwise, see docs/benchmarks.md."""
NEIGHBOURS = 5
IMPROBABLE, UNLIKE = "improbable", "unlike"
"""Why a picture is rejected: its class is improbable, or it is unlike all that was learnt from."""
LENIENCE = 3
"""A picture has to be so many times as odd by its probability as by its distance: what is foreign shows in the latter,
see docs/benchmarks.md."""
_FEW = 50
_MOST_BYTES = 8_000_000
_MOST_ROWS = 10_000
_ROWS_AT_A_TIME = 1024

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Bar:
    """Where pictures are rejected, and what that came to on val.

    Attributes
    ----------
    score : float
        A picture below it is rejected.
    coverage : float
        The share of the pictures of val that is kept.
    risk : float
        The share of those kept that got a wrong class.
    risk_of_all : float
        The same of all pictures of val.
    images : int
        How many these are.
    """

    score: float
    coverage: float
    risk: float
    risk_of_all: float
    images: int

    def summary(self) -> str:
        """Return one line for a person."""
        few = ", which are few to fit a bar on" if self.images < _FEW else ""
        return (
            f"on val ({self.images} pictures{few}) this keeps {self.coverage:.0%} of the pictures, of which "
            f"{self.risk:.0%} are wrong (of all: {self.risk_of_all:.0%})"
        )


@dataclass(frozen=True)
class Rejection:
    """What tells whether a picture is one that the model can judge.

    Two signals are joined: the probability of the class that is named, and the mean cosine distance of the picture's
    feature to its nearest training pictures (Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest
    Neighbors"), in units of the median that training pictures have among themselves. Each becomes the share of the
    pictures of val that are as odd or odder, that of the probability times `LENIENCE`, and the smaller is the picture's
    score: one bar serves both.
    Coverage and risk are those of Geifman & El-Yaniv 2017.

    Attributes
    ----------
    reference : ndarray of shape (m, width), float16
        Features of training pictures, of length one.
    unit : ndarray of shape (), float32
        The median distance of these among themselves.
    confidence : ndarray of shape (v,), float32
        Of the pictures of val the probability of the class that was named, ascending.
    distance : ndarray of shape (v,), float32
        Of the same pictures in units, ascending.
    score : ndarray of shape (v,), float32
        Of the same pictures, ascending.
    wrong : ndarray of shape (v,), bool
        Whether they got a wrong class, in the order of `score`.
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
        groups: NDArray[np.int64] | None = None,
    ) -> Rejection | None:
        """Return what val says of both signals, or None where there is nothing to compare.

        Parameters
        ----------
        features : ndarray of shape (n, width), float32
            Of all pictures.
        train : ndarray of int
            The rows that were learnt from.
        val : ndarray of shape (v,), int
            The rows whose answers are known; one that was learnt from is compared with the others alone.
        probabilities : ndarray of shape (v, k), float32
            Calibrated, by a model that did not learn from them.
        truth : ndarray of shape (v,), int
        seed : int
            Decides which pictures are taken where there are very many.
        earlier : tuple of two ndarrays, optional
            Features of train and of val by the model that said the probabilities, where the one to be used has learnt
            from val since: new pictures would be further from its training pictures than those of val are.
        groups : ndarray of shape (n,), int, optional
            Of all pictures: one is not compared with those of its own group, its relatives, either.
        """
        groups = np.arange(len(features)) if groups is None else groups
        draw = np.random.default_rng(seed)
        most = min(_MOST_ROWS, max(_MOST_BYTES // (2 * features.shape[1]), 2 * NEIGHBOURS))
        places = np.sort(draw.permutation(len(train))[:most])
        chosen = np.sort(draw.permutation(len(val))[:_MOST_ROWS])
        kept = train[places]
        if len(kept) and (groups[kept] == groups[kept[0]]).all():
            # Nothing but its relatives is there to compare a picture with.
            chosen = chosen[groups[val[chosen]] != groups[kept[0]]]
        if len(kept) < 2 or not len(chosen):
            return None
        reference = _unit(features[kept]).astype(np.float16)
        assign_group_ids = groups[val[chosen]], groups[kept]
        unit = _typical(reference, groups[kept])
        if earlier is None:
            distance = _distance(reference, features[val[chosen]], *assign_group_ids) / unit
        else:
            before = _unit(earlier[0][places]).astype(np.float16)
            distance = _distance(before, earlier[1][chosen], *assign_group_ids) / _typical(before, groups[kept])
        confidence = probabilities[chosen].max(axis=1)
        wrong = probabilities[chosen].argmax(axis=1) != truth[chosen]
        nothing = np.empty(0, np.float32)
        fitted = cls(reference, np.asarray(unit, np.float32), np.sort(confidence), np.sort(distance), nothing, wrong)
        score = np.minimum(*fitted._shares(confidence, distance))
        order = np.argsort(score, kind="stable")
        return replace(fitted, score=score[order], wrong=wrong[order])

    @classmethod
    def load(cls, path: Path) -> Rejection:
        """Return what `save` wrote; raise ModelError where the file holds something else."""
        arrays = read_arrays(path, *cls.__dataclass_fields__)
        found = cls(*(must_be_numbers(path, arrays[name]) for name in cls.__dataclass_fields__))
        several = (found.confidence, found.distance, found.score, found.wrong)
        if (
            found.reference.ndim != 2
            or found.unit.shape != ()
            or found.unit <= 0
            or len(found.reference) < 2
            or not len(found.score)
            or {array.shape for array in several} != {(len(found.score),)}
        ):
            raise ModelError(f"{path} holds arrays that do not fit each other.")
        return found

    def save(self, path: Path) -> None:
        """Write the arrays; no pickle."""
        np.savez(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    def bar(self, coverage: float = COVERAGE) -> Bar:
        """Return the bar that keeps a share of the pictures of val, or a little more where pictures are equal."""
        count = len(self.score)
        # A rounding error must not cost one picture more.
        first = min(int(np.floor((1 - coverage) * count + 1e-9)), count - 1)
        bar = float(self.score[first])
        kept = self.score >= bar
        risks = float(self.wrong[kept].mean()), float(self.wrong.mean())
        return Bar(bar, float(kept.mean()), *risks, count)

    def shares(self, probabilities: Rows, features: Rows) -> tuple[Rows, Rows]:
        """Return how ordinary pictures are: the share of the pictures of val that are as odd or odder.

        Parameters
        ----------
        probabilities : ndarray of shape (n, k), float32
        features : ndarray of shape (n, width), float32

        Returns
        -------
        tuple of two ndarrays of shape (n,), float32
            By probability, times `LENIENCE`, and by distance, from 0 (odder than any) to 1.

        Raises
        ------
        ModelError
            When the features are of another width.
        """
        if features.shape[1] != self.reference.shape[1]:
            raise ModelError(
                f"{REJECTION_FILE} is made for {self.reference.shape[1]} features; the network has {features.shape[1]}."
            )
        distance = _distance(self.reference, features) / self.unit
        return self._shares(probabilities.max(axis=1), distance)

    def scores(self, probabilities: Rows, features: Rows) -> Rows:
        """Return the smaller of both `shares`, of shape (n,)."""
        return np.minimum(*self.shares(probabilities, features))

    def _shares(self, confidence: Rows, distance: Rows) -> tuple[Rows, Rows]:
        count = len(self.confidence)
        as_unsure = np.minimum(LENIENCE * np.searchsorted(self.confidence, confidence, "right") / count, 1)
        as_far = 1 - np.searchsorted(self.distance, distance, "left") / count
        return as_unsure.astype(np.float32), as_far.astype(np.float32)


def _typical(reference: NDArray[np.float16], groups: NDArray[np.int64]) -> float:
    """Return the median distance of some pictures among themselves, relatives left out, never 0."""
    of_each = groups if len(np.unique(groups)) > 1 else np.arange(len(groups))
    median = np.median(_distance(reference, reference.astype(np.float32), of_each, of_each))
    return max(float(median), 1e-6)


def _unit(features: Rows) -> Rows:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths, lengths, 1), np.float32)


def _distance(
    reference: NDArray[np.float16],
    features: Rows,
    groups: NDArray[np.int64] | None = None,
    of_reference: NDArray[np.int64] | None = None,
) -> Rows:
    """Return one less the mean cosine to the nearest of the reference, relatives of a picture and itself left out."""
    rows = reference.astype(np.float32).T
    found = np.empty(len(features), np.float32)
    for start in range(0, len(features), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        cosines = _unit(features[part]) @ rows
        if groups is not None and of_reference is not None:
            cosines[groups[part][:, None] == of_reference] = -np.inf
        near = min(NEIGHBOURS, cosines.shape[1] - 1)
        nearest = np.partition(cosines, -near, axis=1)[:, -near:]
        found[part] = 1 - nearest.mean(axis=1)
        # Fewer are left of a small reference where a group is a large part of it.
        for row in np.flatnonzero(np.isneginf(nearest).any(axis=1)):
            found[start + row] = 1 - nearest[row][np.isfinite(nearest[row])].mean()
    return found
