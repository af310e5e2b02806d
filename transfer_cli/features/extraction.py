"""Extract the features of an image folder: from the feature cache if possible, from the network otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.decoding import DECODER
from transfer_cli.data.image_batches import ImageBatch, batches
from transfer_cli.errors import ImageError
from transfer_cli.features.cache import FeatureCache
from transfer_cli.inference.compiled_network import MIN_IMAGES_TO_CACHE, PARITY_IMAGES, CompiledNetwork
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


class FeatureExtractor:
    """Extracts the features of a folder, running the network on images without cached features only.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    network : CompiledNetwork
    cache : FeatureCache
    """

    def __init__(self, request: TrainingRequest, recipe: Recipe, network: CompiledNetwork, cache: FeatureCache) -> None:
        self._request, self._network, self._cache = request, network, cache
        self._size, self._resize, self._batch_size = recipe.image_size, recipe.images.resize, recipe.batch_size
        self._runtime = network.runtime
        self._reused = 0

    @classmethod
    def open(cls, request: TrainingRequest, recipe: Recipe, network: CompiledNetwork) -> FeatureExtractor:
        """Open the feature cache of a network."""
        decoding = {"size": recipe.image_size, "resize": recipe.images.resize, "decoder": DECODER}
        decoding |= {package: metadata.version(package) for package in ("pillow", "opencv-python-headless")}
        facts = {**network.facts, **decoding}
        return cls(request, recipe, network, FeatureCache.open(request.cache, facts, network.width, request.progress))

    def batches(self) -> Iterator[ImageBatch]:
        """Yield the images of the folder; those with cached features are not decoded."""
        return self._read(self._paths(), self._batch_size, known=self._cache)

    def rows(self, batch: ImageBatch) -> NDArray[np.float32]:
        """Return the features of a batch, float32 of shape (n, width)."""
        rows = np.empty((len(batch.paths), self._network.width), np.float32)
        self._run(rows, np.flatnonzero(~batch.known), batch)
        known = np.flatnonzero(batch.known)
        cached = self._cache.get([batch.digests[place] for place in known])
        lost = {batch.paths[place]: place for place in known if batch.digests[place] not in cached}
        for place in known:
            if batch.digests[place] in cached:
                rows[place] = cached[batch.digests[place]]
        self._reused += len(known) - len(lost)
        # A shard was damaged, or removed by another process, after its images were skipped.
        for again in self._read(list(lost), self._batch_size):
            places = np.array([lost.pop(path) for path in again.paths], np.int64)
            changed = [
                path for path, place in zip(again.paths, places, strict=True) if _differ(batch, place, again, path)
            ]
            if changed:
                raise _changed(changed[0])
            self._run(rows, places, again)
        if lost:
            raise _changed(next(iter(lost)))
        return rows

    def close(self) -> None:
        """Write new features to the cache, and report how many were loaded from it."""
        self._cache.flush()
        self._request.cache.trim()
        if self._reused:
            self._request.progress.note(f"{self._reused} loaded from the feature cache")

    def check(self) -> None:
        """Compare the network with Keras on images of the folder, unless that was done."""
        if self._network.is_checked:
            return
        for batch in self._read(self._paths(), PARITY_IMAGES):
            if len(batch.images):
                self._network.check(batch.images)
                return

    def _run(self, rows: NDArray[np.float32], places: NDArray[np.int64], batch: ImageBatch) -> None:
        """Compute the features of the decoded images of a batch."""
        if not len(batch.images):
            return
        if len(batch.images) < MIN_IMAGES_TO_CACHE:
            # So few images are not enough for a comparison with Keras.
            self.check()
        rows[places] = new = self._network(batch.images)
        # After a fallback to Keras the features do not belong in the cache of the other runtime.
        if self._network.runtime == self._runtime:
            self._cache.add([batch.digests[place] for place in np.flatnonzero(~batch.known)], new)

    def _paths(self) -> list[str]:
        return [file.path for file in self._request.folder.files]

    def _read(self, paths: list[str], batch_size: int, known: Container[str] = ()) -> Iterator[ImageBatch]:
        return batches(
            paths,
            size=self._size,
            resize=self._resize,
            batch_size=batch_size,
            root=self._request.folder.root,
            strict=self._request.strict,
            known=known,
        )


def _differ(batch: ImageBatch, place: np.int64, again: ImageBatch, path: str) -> bool:
    return batch.digests[place] != again.digests[again.paths.index(path)]


def _changed(path: str) -> ImageError:
    return ImageError(
        f"{path} changed while it was read.",
        hint="Run the same command again when no other program changes the images.",
    )
