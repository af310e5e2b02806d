"""What is known of a finished run when one asks what is wrong with it: counts and figures, no pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.metrics.scores import calibration_error

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """What came out on a part of a run.

    Attributes
    ----------
    support : ndarray of shape (k,)
        Pictures of each class.
    right : ndarray of shape (k,)
        Those of them that were found.
    given : ndarray of shape (k,)
        Pictures that were said to be of each class.
    confusion : ndarray of shape (k, k) or None
        How many pictures of a class (row) were taken for another (column); None where a picture has several labels.
    accuracy, low, high : float
        With the ends of its 95 % interval; of several labels the share of pictures all of whose labels are right.
    log_loss : float
    confidence : float
        Mean probability of what was said.
    calibration_error : float or None
        See metrics.calibration_error; None where a picture has several labels.
    certain_mistakes : int
        Pictures that were said with 95 % or more to be of a class they are not of.
    images : int
    """

    support: Counts
    right: Counts
    given: Counts
    confusion: Counts | None
    accuracy: float
    low: float
    high: float
    log_loss: float
    confidence: float
    calibration_error: float | None
    certain_mistakes: int
    images: int

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of each class that was found; NaN where it has no picture."""
        return np.where(self.support > 0, self.right / np.maximum(self.support, 1), np.nan)


@dataclass(frozen=True)
class RunFacts:
    """A run, as a doctor wants to know it.

    Attributes
    ----------
    method : {"extract", "finetune", "ensemble"}
    run, folder : str
        As a person would type them.
    class_names : tuple of str
    images : dict of str to ndarray of shape (k,)
        Pictures of each class in train, val and test.
    scored : dict of str to Scored
        Of val and test, where they are.
    recipe : dict
        As in recipe.toml.
    command : str
        That the run was made with; empty where nobody knows.
    from_scratch : bool
        Whether the backbone has no pretrained weights.
    out_of_fold : bool
        Whether what is said of val is of train pictures, each by a classifier that had not learnt from it.
    refit : bool
        Whether it learnt from val, too, after all was chosen.
    best, last : int or None
        The epoch that was kept and the last one; None for extract.
    best_train : float or None
        The accuracy of the epoch that was kept on its augmented train pictures.
    stopped_early : bool
    budget_used_up : bool
    halved : int
        How often weights ran away and were taken back.
    duplicates, near_duplicates : int
        Pictures outside train that lie in train, too, to the byte, or but for small changes.
    two_classes : int
        Pairs of pictures that are one, in two classes.
    skipped : int
        Files that could not be read.
    gone : int
        Pictures that could not be read any more when the report was made.
    short_sides : ndarray of int
        The shorter side in pixels of some of the pictures.
    image_size : int
        The side the network looks at; of an ensemble the smallest.
    networks : tuple of str
        The backbones of an ensemble's members, each once.
    """

    method: str
    run: str
    folder: str
    class_names: tuple[str, ...]
    images: Mapping[str, Counts]
    scored: Mapping[str, Scored]
    recipe: Mapping[str, Any]
    command: str = ""
    from_scratch: bool = False
    out_of_fold: bool = False
    refit: bool = False
    best: int | None = None
    last: int | None = None
    best_train: float | None = None
    stopped_early: bool = False
    budget_used_up: bool = False
    halved: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    two_classes: int = 0
    skipped: int = 0
    gone: int = 0
    short_sides: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    image_size: int = 224
    networks: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[str, Scored] | None:
        """The part by which the run is judged: test, or val where there is no test."""
        return next(((part, self.scored[part]) for part in ("test", "val") if part in self.scored), None)

    def word(self, path: str, default: Any = None) -> Any:
        """Return a word of the recipe, ``balance.method`` say."""
        found: Any = self.recipe
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return default if found is None else found


def scored(truth: Counts, probabilities: NDArray[np.float32], figures: Mapping[str, Any], thresholds: Any) -> Scored:
    """Return what came out on a part.

    Parameters
    ----------
    truth : ndarray of shape (n,) or (n, k), int
    probabilities : ndarray of shape (n, k), float
    figures : dict
        The part's figures in metrics.json.
    thresholds : sequence of float or None
        From which probability on a picture has a label, where it can have several.
    """
    count, classes = probabilities.shape
    confusion = None
    if truth.ndim == 1:
        predicted = probabilities.argmax(axis=1)
        confusion = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
        support, given, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion).copy()
        sure, hit = probabilities.max(axis=1), predicted == truth
    else:
        said = probabilities >= np.asarray(thresholds if thresholds is not None else [0.5] * classes)
        support, given = truth.sum(axis=0), said.sum(axis=0)
        right = (said & (truth > 0)).sum(axis=0)
        # Each label is a question of its own, answered with yes or no.
        sure, hit = np.maximum(probabilities, 1 - probabilities).ravel(), ((probabilities >= 0.5) == truth).ravel()
    whole = figures["accuracy" if truth.ndim == 1 else "exact_matches"]
    return Scored(
        support=support.astype(np.int64),
        right=right.astype(np.int64),
        given=given.astype(np.int64),
        confusion=confusion,
        accuracy=whole["value"],
        low=whole["low"],
        high=whole["high"],
        log_loss=figures["log_loss"]["value"],
        confidence=float(sure.mean()) if len(sure) else 0.0,
        calibration_error=calibration_error(truth, probabilities) if confusion is not None else None,
        certain_mistakes=int(((sure >= 0.95) & ~hit).sum()),
        images=count,
    )
