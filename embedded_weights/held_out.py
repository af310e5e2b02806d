"""Tasks of formula-made pictures that no training has seen: by these, and only these, trainings are chosen.

Each is some classes with a few pictures to learn from and others to be tested on: shapes of the trained families but of
other formulas, and two families of their own. A network is as good as a logistic regression on its features.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import solids
import strokes
from formulas import Counts, Formulas, formulas
from numpy.typing import NDArray
from scenes import painted, scene
from spoiling import spoilt

SEED = 10_007
"""Of the formulas; training has another."""
SIDE = 192
CLASSES = 36
LEARNT_FROM, TESTED_ON = 16, 16

Tasks = dict[str, NDArray[np.uint8]]


def tasks(store: Path) -> Tasks:
    """Return the pictures of each task, of shape (CLASSES, LEARNT_FROM + TESTED_ON, SIDE, SIDE, 3)."""
    made = {}
    for name in ("shapes", "solids", "strokes"):
        path = store / f"task-{name}-{SIDE}.npy"
        if not path.is_file():
            np.save(path, _task(name, formulas(Counts(12, 12, 12, 40), SEED, store)))
        made[name] = np.load(path, mmap_mode="r")
    return made


def accuracies(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]], tasks: Tasks, size: int
) -> dict[str, float]:
    """Return the share of right answers in each task, and their mean.

    Parameters
    ----------
    features : callable
        From uint8 (n, size, size, 3) to float32 (n, width).
    tasks : dict of str to ndarray
    size : int
    """
    found = {name: _probed(features, images, size) for name, images in tasks.items()}
    return {**found, "mean": float(np.mean(list(found.values())))}


def _probed(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images: NDArray[np.uint8], size: int
) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = []
    for group in images:
        resized = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in group])
        rows.append(features(resized))
    matrix = np.stack(rows)
    learnt, tested = matrix[:, :LEARNT_FROM], matrix[:, LEARNT_FROM:]
    width = matrix.shape[-1]
    scaler = StandardScaler().fit(learnt.reshape(-1, width))
    classifier = LogisticRegression(C=0.03, max_iter=300, tol=1e-3)
    classifier.fit(scaler.transform(learnt.reshape(-1, width)), np.repeat(np.arange(CLASSES), LEARNT_FROM))
    answers = classifier.predict(scaler.transform(tested.reshape(-1, width)))
    return float((answers == np.repeat(np.arange(CLASSES), TESTED_ON)).mean())


def _task(name: str, drawn: Formulas) -> NDArray[np.uint8]:
    made = np.empty((CLASSES, LEARNT_FROM + TESTED_ON, SIDE, SIDE, 3), np.uint8)
    for number in range(CLASSES):
        random = np.random.default_rng([SEED, number, len(name)])
        profile, habit = solids.profile(random), strokes.habit(random)
        for instance in range(LEARNT_FROM + TESTED_ON):
            if name == "shapes":
                image = scene(drawn, number, SIDE, random).image
            elif name == "solids":
                background, _ = painted(drawn, SIDE, random, plain=0.4)
                image = solids.solid(profile, background, SIDE, random)
            else:
                image = strokes.drawing(habit, SIDE, random)
            made[number, instance] = spoilt(image, random)
    return made
