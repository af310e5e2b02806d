"""The features of a folder's pictures: those that were computed before, and the network's for the rest."""

from __future__ import annotations

from collections.abc import Container, Iterator
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data import decoding
from transfer_cli.data.decoding import DECODER, ImageBatch
from transfer_cli.errors import ImageError
from transfer_cli.features.cache import FeatureCache
from transfer_cli.inference.compiled_network import CHECKED, ENOUGH_TO_KEEP, CompiledNetwork
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.request import TrainingRequest


class KnownFeatures:
    """A pass over a folder that runs the network on new pictures alone.

    Parameters
    ----------
    request : Request
    recipe : Recipe
        Resolved.
    network : Prepared
    """

    def __init__(self, request: TrainingRequest, recipe: Recipe, network: CompiledNetwork) -> None:
        self._request, self._network = request, network
        self._size, self._resize, self._batch_size = recipe.image_size, recipe.images.resize, recipe.batch_size
        self._runtime = network.runtime
        pixels = {"size": self._size, "resize": self._resize, "decoder": DECODER}
        pixels |= {package: metadata.version(package) for package in ("pillow", "opencv-python-headless")}
        self._cache = FeatureCache(request.cache, {**network.facts, **pixels}, network.width, request.progress)
        self._reused = 0

    def batches(self) -> Iterator[ImageBatch]:
        """Return the pictures of the folder; those whose features are known are not decoded."""
        return self._read(self._paths(), self._batch_size, known=self._cache)

    def rows(self, batch: ImageBatch) -> NDArray[np.float32]:
        """Return the features of a batch, float32 of shape (n, width)."""
        rows = np.empty((len(batch.paths), self._network.width), np.float32)
        self._run(rows, np.flatnonzero(~batch.known), batch)
        known = np.flatnonzero(batch.known)
        found = self._cache.get([batch.digests[place] for place in known])
        lost = {batch.paths[place]: place for place in known if batch.digests[place] not in found}
        for place in known:
            if batch.digests[place] in found:
                rows[place] = found[batch.digests[place]]
        self._reused += len(known) - len(lost)
        # A shard was damaged, or another process made room, after its pictures were passed over.
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
        """Write what is new; tell how much was known."""
        self._cache.flush()
        self._request.cache.trim()
        if self._reused:
            self._request.progress.note(f"{self._reused} of them were known from an earlier run")

    def check(self) -> None:
        """Compare the network with Keras on pictures of the folder, where that was not done yet."""
        if self._network.is_checked:
            return
        for batch in self._read(self._paths(), CHECKED):
            if len(batch.images):
                self._network.check(batch.images)
                return

    def _run(self, rows: NDArray[np.float32], places: NDArray[np.int64], batch: ImageBatch) -> None:
        """Fill in the rows of the decoded pictures of a batch."""
        if not len(batch.images):
            return
        if len(batch.images) < ENOUGH_TO_KEEP:
            # A comparison on so few says little.
            self.check()
        rows[places] = new = self._network(batch.images)
        # After a fall they are those of another runtime than the cache's.
        if self._network.runtime == self._runtime:
            self._cache.add([batch.digests[place] for place in np.flatnonzero(~batch.known)], new)

    def _paths(self) -> list[str]:
        return [file.path for file in self._request.folder.files]

    def _read(self, paths: list[str], batch_size: int, known: Container[str] = ()) -> Iterator[ImageBatch]:
        return decoding.batches(
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
    return ImageError(f"{path} changed while it was read.", hint="Give the same command again when nothing changes it.")
