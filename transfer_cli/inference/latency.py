"""The cost of using a model: latency in ms/image, measured on this machine, and size in MB."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import OpenedBundle
from transfer_cli.inference.models import AbstractModel, FeatureModel

BATCH = 32
"""Number of images in a batch that is timed."""
_MIN_PASSES, _MAX_PASSES, _SECONDS = 3, 50, 0.5


@dataclass(frozen=True)
class InferenceCost:
    """The cost of a model.

    Attributes
    ----------
    milliseconds : float
        Per image, without decoding: the median of several passes over a batch.
    megabytes : float
        Size on disk in units of 10^6 bytes; equal files count once.
    """

    milliseconds: float
    megabytes: float


def ms_per_image(work: Callable[[], object], images: int) -> float:
    """Return the median time per image in ms of several passes over a batch, after two warm-up passes.

    Parameters
    ----------
    work : callable
        Processes one batch.
    images : int
        Number of images in the batch; compare only times of batches of `BATCH` images.
    """
    # The first pass may compare the runtime with Keras, the second may trace or allocate a graph.
    work()
    work()
    passes: list[float] = []
    while len(passes) < _MIN_PASSES or (len(passes) < _MAX_PASSES and sum(passes) < _SECONDS):
        start = time.perf_counter()
        work()
        passes.append(time.perf_counter() - start)
    return 1000 * median(passes) / images


def model_ms_per_image(model: AbstractModel) -> float:
    """Return the latency of a model in ms/image, measured on noise: it does not depend on the content of images."""
    views = _noise(model)
    return ms_per_image(lambda: model.predict_views(views), BATCH)


def size_in_megabytes(opened: Sequence[OpenedBundle]) -> float:
    """Return the total size of some bundles in MB; equal files count once."""
    sizes = {digest.sha256: digest.bytes for each in opened for leaf in each.leaves() for digest in leaf.files.values()}
    return sum(sizes.values()) / 1e6


@dataclass(frozen=True)
class MemberCosts:
    """The costs of some models, alone and together; a shared network counts once.

    Attributes
    ----------
    bundles : sequence of OpenedBundle
    networks : sequence of int
        The network of each model, by number.
    network_milliseconds : mapping of int to float
        Latency of each network.
    classifier_milliseconds : sequence of float
        Latency of the classifier of each model.
    """

    bundles: Sequence[OpenedBundle]
    networks: Sequence[int]
    network_milliseconds: Mapping[int, float]
    classifier_milliseconds: Sequence[float]

    @classmethod
    def measure(cls, models: Sequence[AbstractModel], bundles: Sequence[OpenedBundle]) -> MemberCosts:
        """Measure models that were loaded as the members of one ensemble."""
        networks: list[int] = []
        of_network: dict[int, float] = {}
        of_classifier: list[float] = []
        for model in models:
            networks.append(id(model.network if isinstance(model, FeatureModel) else model))
            if not isinstance(model, FeatureModel):
                of_network[networks[-1]] = model_ms_per_image(model)
                of_classifier.append(0.0)
                continue
            images = _noise(model)[0]
            if networks[-1] not in of_network:
                of_network[networks[-1]] = ms_per_image(partial(model.features, images), BATCH)
            of_classifier.append(ms_per_image(partial(model.classify, model.features(images)), BATCH))
        return cls(bundles, networks, of_network, of_classifier)

    def alone(self, member: int) -> InferenceCost:
        """Return the cost of one member."""
        return self.together([member])

    def together(self, members: Sequence[int]) -> InferenceCost:
        """Return the joint cost of some members."""
        networks = {self.networks[member] for member in members}
        milliseconds = sum(self.network_milliseconds[network] for network in networks)
        milliseconds += sum(self.classifier_milliseconds[member] for member in members)
        return InferenceCost(milliseconds, size_in_megabytes([self.bundles[member] for member in members]))


def noise(count: int, size: int) -> NDArray[np.uint8]:
    """Return images of random pixels, of shape (count, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def _noise(model: AbstractModel) -> list[NDArray[np.uint8]]:
    return [noise(BATCH, view.size) for view in model.views]
