"""What a model costs to use: milliseconds a picture, measured here, and megabytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.inference.models import AbstractModel, FeatureModel, Features

BATCH = 32
"""Pictures in a batch that is timed."""
_LEAST, _MOST, _SECONDS = 3, 50, 0.5


@dataclass(frozen=True)
class Cost:
    """What it takes to predict one picture.

    Attributes
    ----------
    milliseconds : float
        A picture, decoded already: the median of some passes of a batch.
    megabytes : float
        Of 10^6 bytes, on disk; what is there twice counts once.
    """

    milliseconds: float
    megabytes: float


def timed(work: Callable[[], object], images: int) -> float:
    """Return how many milliseconds a picture takes: the median of some passes of a batch, after two that do not count.

    Parameters
    ----------
    work : callable
        Passes a batch.
    images : int
        In the batch; what is compared has batches of `BATCH`.
    """
    # The first pass may compare the runtime with Keras, the next one may trace or lay out a graph.
    work()
    work()
    passes: list[float] = []
    while len(passes) < _LEAST or (len(passes) < _MOST and sum(passes) < _SECONDS):
        begun = time.perf_counter()
        work()
        passes.append(time.perf_counter() - begun)
    return 1000 * median(passes) / images


def milliseconds_of(model: AbstractModel) -> float:
    """Return how long a model takes for a picture that is decoded, in milliseconds.

    What is on a picture does not change how long it takes, so that these are noise.
    """
    views = _noise(model)
    return timed(lambda: model.predict_views(views), BATCH)


def megabytes_of(opened: Sequence[OpenedBundle]) -> float:
    """Return the size of some bundles, each file that is equal in several counted once."""
    sizes = {digest.sha256: digest.bytes for each in opened for leaf in each.leaves() for digest in leaf.files.values()}
    return sum(sizes.values()) / 1e6


class Costs:
    """What some models cost, alone and together; a network that several have is run once.

    Parameters
    ----------
    models : sequence of AbstractModel
        Loaded as members of one ensemble are.
    bundles : sequence of OpenedBundle
    """

    def __init__(self, models: Sequence[AbstractModel], bundles: Sequence[OpenedBundle]) -> None:
        self._bundles = bundles
        self._networks: list[int] = []
        self._rest: list[float] = []
        self._milliseconds: dict[int, float] = {}
        rows: dict[int, Features] = {}
        for model in models:
            if not isinstance(model, FeatureModel):
                self._networks.append(id(model))
                self._milliseconds[id(model)] = milliseconds_of(model)
                self._rest.append(0.0)
                continue
            network = id(model.network)
            if network not in rows:
                images = _noise(model)[0]
                self._milliseconds[network] = timed(partial(model.features, images), BATCH)
                rows[network] = model.features(images)
            self._networks.append(network)
            self._rest.append(timed(partial(model.classify, rows[network]), BATCH))

    def alone(self, member: int) -> Cost:
        """Return what a member costs."""
        return self.together([member])

    def together(self, members: Sequence[int]) -> Cost:
        """Return what some members cost together."""
        networks = sum(self._milliseconds[network] for network in {self._networks[member] for member in members})
        rest = sum(self._rest[member] for member in members)
        return Cost(networks + rest, megabytes_of([self._bundles[member] for member in members]))


def noise(count: int, size: int) -> NDArray[np.uint8]:
    """Return pictures to be timed on."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def _noise(model: AbstractModel) -> list[NDArray[np.uint8]]:
    return [noise(BATCH, view.size) for view in model.views]
