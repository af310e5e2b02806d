"""Extract the features of an image folder: from the feature cache if possible, from the network otherwise."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.decoding import DECODER
from transfer_cli.data.image_batches import ImageBatch, view_batches
from transfer_cli.errors import ImageError
from transfer_cli.features.cache import FeatureCache
from transfer_cli.features.fingerprints import SIDE, Fingerprints, shrink
from transfer_cli.inference.compiled_network import MIN_IMAGES_TO_CACHE, PARITY_IMAGES, CompiledNetwork
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest

_FINGERPRINT = SIDE**2 // np.dtype(np.float32).itemsize
"""Length of the small version of an image, when its bytes are stored behind the features."""


class FeatureExtractor:
    """Extracts the features of a folder, running the network on images without cached features only.

    Parameters
    ----------
    request : TrainingRequest
    recipe : Recipe
        Resolved.
    network : CompiledNetwork

    Attributes
    ----------
    prints : Fingerprints
        Of the images whose features were returned, in the same order.
    """

    def __init__(self, request: TrainingRequest, recipe: Recipe, network: CompiledNetwork) -> None:
        self._request, self._recipe, self._network = request, recipe, network
        self._runtime, self._reused = network.runtime, 0
        decoding: dict[str, Any] = {**recipe.view._asdict(), "decoder": DECODER}
        decoding |= {package: metadata.version(package) for package in ("pillow", "opencv-python-headless")}
        facts = {**network.facts, **decoding, "fingerprint": SIDE}
        self._cache = FeatureCache(request.cache, facts, network.width + _FINGERPRINT, request.progress)
        self.prints = Fingerprints(len(request.folder.files))

    def batches(self) -> Iterator[ImageBatch]:
        """Yield the images of the folder; those with cached features are not decoded."""
        return self._read(self._recipe.batch_size, known=self._cache)

    def rows(self, batch: ImageBatch) -> NDArray[np.float32]:
        """Return the features of a batch, float32 of shape (n, width)."""
        rows = np.empty((len(batch.paths), self._network.width + _FINGERPRINT), np.float32)
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
        features, prints = np.split(rows, [self._network.width], axis=1)
        self.prints.add(np.ascontiguousarray(prints).view(np.uint8).reshape(-1, SIDE, SIDE))
        return features

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
        prints = shrink(batch.images).reshape(len(batch.images), -1).view(np.float32)
        rows[places] = new = np.concatenate([self._network(batch.images), prints], axis=1)
        # After a fallback to Keras the features do not belong in the cache of the other runtime.
        if self._network.runtime == self._runtime:
            self._cache.add([batch.digests[place] for place in np.flatnonzero(~batch.known)], new)

    def _read(
        self, batch_size: int, paths: Sequence[str] | None = None, known: Container[str] = ()
    ) -> Iterator[ImageBatch]:
        """Yield images of the folder, by default all."""
        folder = self._request.folder
        return view_batches(
            [file.path for file in folder.files] if paths is None else paths,
            [self._recipe.view],
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
