"""Held-out tasks with synthetic images; trainings are compared by these tasks only.

Each task has classes with a few training and test images: shapes of the trained families with other formulas, and two
families that are never trained on. The score of a network is the accuracy of a logistic regression on its features.
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
"""Seed of the formulas; training has another one."""
SIDE = 192
CLASSES = 36
TRAIN_IMAGES, TEST_IMAGES = 16, 16

Tasks = dict[str, NDArray[np.uint8]]


def tasks(store: Path) -> Tasks:
    """Return the images of each task, of shape (CLASSES, TRAIN_IMAGES + TEST_IMAGES, SIDE, SIDE, 3)."""
    images = {}
    for name in ("shapes", "solids", "strokes"):
        path = store / f"task-{name}-{SIDE}.npy"
        if not path.is_file():
            np.save(path, _task(name, formulas(Counts(12, 12, 12, 40), SEED, store)))
        images[name] = np.load(path, mmap_mode="r")
    return images


def accuracies(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]], tasks: Tasks, size: int
) -> dict[str, float]:
    """Return the accuracy on each task, and the mean.

    Parameters
    ----------
    features : callable
        From uint8 (n, size, size, 3) to float32 (n, width).
    tasks : dict of str to ndarray
    size : int
    """
    accuracy = {name: _probe_accuracy(features, images, size) for name, images in tasks.items()}
    return {**accuracy, "mean": float(np.mean(list(accuracy.values())))}


def _probe_accuracy(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images: NDArray[np.uint8], size: int
) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = []
    for group in images:
        resized = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in group])
        rows.append(features(resized))
    matrix = np.stack(rows)
    train, test = matrix[:, :TRAIN_IMAGES], matrix[:, TRAIN_IMAGES:]
    width = matrix.shape[-1]
    scaler = StandardScaler().fit(train.reshape(-1, width))
    classifier = LogisticRegression(C=0.03, max_iter=300, tol=1e-3)
    classifier.fit(scaler.transform(train.reshape(-1, width)), np.repeat(np.arange(CLASSES), TRAIN_IMAGES))
    predicted = classifier.predict(scaler.transform(test.reshape(-1, width)))
    return float((predicted == np.repeat(np.arange(CLASSES), TEST_IMAGES)).mean())


def _task(name: str, classes: Formulas) -> NDArray[np.uint8]:
    rendered = np.empty((CLASSES, TRAIN_IMAGES + TEST_IMAGES, SIDE, SIDE, 3), np.uint8)
    for number in range(CLASSES):
        random = np.random.default_rng([SEED, number, len(name)])
        profile, habit = solids.profile(random), strokes.habit(random)
        for instance in range(TRAIN_IMAGES + TEST_IMAGES):
            if name == "shapes":
                image = scene(classes, number, SIDE, random).image
            elif name == "solids":
                background, _ = painted(classes, SIDE, random, plain=0.4)
                image = solids.solid(profile, background, SIDE, random)
            else:
                image = strokes.drawing(habit, SIDE, random)
            rendered[number, instance] = spoilt(image, random)
    return rendered
