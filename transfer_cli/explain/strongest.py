"""The images of a folder that excite channels of a network most."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.data.image_batches import view_batches
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError
from transfer_cli.explain.channels import Channels
from transfer_cli.explain.source_network import SourceNetwork
from transfer_cli.progress import SILENT, Progress

PER_CHANNEL = 8
_BATCH = 32


@dataclass(frozen=True)
class ExcitingImage:
    """An image, as the network sees it, and the mean activation of a channel for it."""

    path: str
    activation: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Strongest:
    """For each channel the images that excite it most, the strongest first.

    Attributes
    ----------
    numbers : tuple of int
    rows : tuple of tuple of ExcitingImage
        One row for each channel.
    images : int
        Number of images that were looked at.
    skipped : tuple of Skipped
    """

    numbers: tuple[int, ...]
    rows: tuple[tuple[ExcitingImage, ...], ...]
    images: int
    skipped: tuple[Skipped, ...]


def strongest(
    source: SourceNetwork,
    channels: Channels,
    paths: Sequence[str],
    *,
    root: Path | None = None,
    per_channel: int = PER_CHANNEL,
    progress: Progress = SILENT,
) -> Strongest:
    """Return the images with the highest mean activation of each channel; memory does not grow with their number.

    Parameters
    ----------
    source : SourceNetwork
    channels : Channels
    paths : sequence of str
    root : Path, optional
        The folder that they are relative to.
    per_channel : int
    progress : Progress

    Raises
    ------
    InputError
        If no image could be read.
    """
    respond = keras.Model(source.network.inputs[0], channels.operation.output)
    # Of equal activations the first image is kept.
    best: list[list[tuple[float, int, ExcitingImage]]] = [[] for _ in channels.numbers]
    skipped: list[Skipped] = []
    seen = 0
    with progress.track("computing activations", len(paths)) as advance:
        for batch in view_batches(paths, [source.view], batch_size=_BATCH, root=root):
            skipped += batch.skipped
            if not batch.paths:
                advance(len(batch.skipped))
                continue
            means = channels.mean_activations(respond(batch.images, training=False))
            for path, pixels, row in zip(batch.paths, batch.images, means, strict=True):
                seen += 1
                for heap, activation in zip(best, row.tolist(), strict=True):
                    entry = (activation, -seen, ExcitingImage(path, activation, pixels))
                    if len(heap) < per_channel:
                        heapq.heappush(heap, entry)
                    elif entry[:2] > heap[0][:2]:
                        heapq.heapreplace(heap, entry)
            advance(len(batch.paths) + len(batch.skipped))
    if not seen:
        reasons = "".join(f"\n  {item.path}: {item.reason}" for item in skipped[:20])
        raise InputError(f"No image could be read.{reasons}", hint="Name a folder of images after the model.")
    rows = tuple(tuple(each for _, _, each in sorted(heap, key=lambda entry: entry[:2], reverse=True)) for heap in best)
    return Strongest(channels.numbers, rows, seen, tuple(skipped))
