"""Extract the features of an image folder: from the feature cache if possible, from the network otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
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
    """

    def __init__(self, request: TrainingRequest, recipe: Recipe, network: CompiledNetwork) -> None:
        self._request, self._recipe, self._network = request, recipe, network
        self._runtime, self._reused = network.runtime, 0
        decoding = {"size": recipe.image_size, "resize": recipe.images.resize, "decoder": DECODER}
        decoding |= {package: metadata.version(package) for package in ("pillow", "opencv-python-headless")}
        self._cache = FeatureCache(request.cache, {**network.facts, **decoding}, network.width, request.progress)

    def batches(self) -> Iterator[ImageBatch]:
        """Yield the images of the folder; those with cached features are not decoded."""
        return self._read(self._recipe.batch_size, known=self._cache)

    def rows(self, batch: ImageBatch) -> NDArray[np.float32]:
        """Return the features of a batch, float32 of shape (n, width)."""
        rows = np.empty((len(batch.paths), self._network.width), np.float32)
        self._run(rows, np.flatnonzero(~batch.known), batch)
        known = np.flatnonzero(batch.known).tolist()
        cached = self._cache.get([batch.digests[place] for place in known])
        lost: dict[str, int] = {}
        for place in known:
            if (row := cached.get(batch.digests[place])) is None:
                lost[batch.paths[place]] = place
            else:
                rows[place] = row
        self._reused += len(known) - len(lost)
        # A shard was damaged, or removed by another process, after its images were skipped.
        for again in self._read(self._recipe.batch_size, list(lost)):
            places = np.array([lost.pop(path) for path in again.paths], np.int64)
            for path, place, digest in zip(again.paths, places, again.digests, strict=True):
                if batch.digests[place] != digest:
                    raise _changed(path)
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
        for batch in self._read(PARITY_IMAGES):
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

    def _read(
        self, batch_size: int, paths: Sequence[str] | None = None, known: Container[str] = ()
    ) -> Iterator[ImageBatch]:
        """Yield images of the folder, by default all."""
        folder = self._request.folder
        return batches(
            [file.path for file in folder.files] if paths is None else paths,
            size=self._recipe.image_size,
            resize=self._recipe.images.resize,
            batch_size=batch_size,
            root=folder.root,
            strict=self._request.strict,
            known=known,
        )


def _changed(path: str) -> ImageError:
    return ImageError(
        f"{path} changed while it was read.",
        hint="Run the same command again when no other program changes the images.",
    )
