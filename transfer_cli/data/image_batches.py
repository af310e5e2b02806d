"""Batches of decoded images, in input order, read ahead by threads in bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.data import decoding
from transfer_cli.data.decoding_cost import BUDGET
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.videos_and_addresses import address_reason, video_reason
from transfer_cli.data.views import View
from transfer_cli.errors import ImageError
from transfer_cli.system import cpu_count, keep_freed_memory

_MAX_CHUNK = 16
_KNOWN_PER_BATCH = 1024


@dataclass(frozen=True)
class ImageBatch:
    """Images in input order, and the files among them that could not be read.

    Attributes
    ----------
    indices : tuple of int
        Position of each image in the input.
    paths : tuple of str
    digests : tuple of str
        SHA-256 of each file, in hexadecimal.
    images : ndarray of shape (m, size, size, 3), uint8
        RGB; m equals n unless some images were known.
    known : ndarray of shape (n,), bool
        Which images were known and therefore not decoded.
    skipped : tuple of Skipped
        Files between these images in the input that could not be read.
    other_views : tuple of ndarray
        The same images in each further view that was requested.
    """

    indices: tuple[int, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    images: NDArray[np.uint8]
    known: NDArray[np.bool_]
    skipped: tuple[Skipped, ...]
    other_views: tuple[NDArray[np.uint8], ...] = ()

    @property
    def views(self) -> tuple[NDArray[np.uint8], ...]:
        """The images in each view, `images` first."""
        return (self.images, *self.other_views)


def batches(
    paths: Iterable[str],
    *,
    size: int,
    resize: str,
    batch_size: int,
    other_views: Sequence[View] = (),
    root: Path | None = None,
    strict: bool = False,
    known: Container[str] = (),
) -> Iterator[ImageBatch]:
    """Yield the images at `paths` in batches, in order; as `view_batches`, for views of ordinary samples.

    Parameters
    ----------
    size : int
        Side of the square in pixels.
    resize : {"squash", "crop", "pad"}
    other_views : sequence of View
        Further views of each image.
    paths, batch_size, root, strict, known
        See `view_batches`.
    """
    views = (View(size, resize), *other_views)
    return view_batches(paths, views, batch_size=batch_size, root=root, strict=strict, known=known)


def view_batches(
    paths: Iterable[str],
    views: Sequence[View],
    *,
    batch_size: int,
    root: Path | None = None,
    strict: bool = False,
    known: Container[str] = (),
    part_size: int | None = None,
) -> Iterator[ImageBatch]:
    """Yield the images at `paths` in batches, in order; each file is read once.

    At most four batches of decoded images are in memory, however many paths there are.

    Parameters
    ----------
    paths : iterable of str
        May be endless.
    views : sequence of View
        The first one gives `ImageBatch.images`.
    batch_size : int
        Decoded images per batch; the last batch may have fewer, or hold skipped files only.
    root : Path, optional
        Folder that relative paths start from.
    strict : bool
        Raise ImageError at the first file that cannot be read, instead of skipping it.
    known : container of str
        SHA-256 digests of files that need not be decoded; they are still listed in the batches.
    part_size : int, optional
        A batch also ends after each multiple of this number of paths.
    """
    pending: deque[_Chunk] = deque()
    numbered = enumerate(paths)
    chunk_size = max(1, min(_MAX_CHUNK, batch_size // 4))
    builder = _BatchBuilder(views)
    keep_freed_memory()
    with ThreadPoolExecutor(min(8, cpu_count()), thread_name_prefix="decode") as pool:
        try:
            while True:
                while sum(len(chunk) for chunk, _ in pending) < 3 * batch_size:
                    chunk = list(islice(numbered, chunk_size))
                    if not chunk:
                        break
                    # A manifest may hold absolute paths; joining a million Path objects would take seconds.
                    files = [path if root is None else os.path.join(root, path) for _, path in chunk]  # noqa: PTH118
                    pending.append((chunk, pool.submit(_read_chunk, files, views, known)))
                if not pending:
                    break
                chunk, future = pending.popleft()
                for (index, path), (digest, outcome) in zip(chunk, future.result(), strict=True):
                    if not isinstance(outcome, str):
                        builder.add(index, path, digest, outcome)
                    elif strict:
                        raise ImageError(f"{path} could not be read: {outcome}.", hint="Omit --strict to skip it.")
                    else:
                        builder.skipped.append(Skipped(path, outcome))
                    if builder.is_full(batch_size) or (part_size and not (index + 1) % part_size):
                        yield builder.build()
                        builder = _BatchBuilder(views)
            if builder.rows or builder.skipped:
                yield builder.build()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def pixel_batches(
    images: Iterable[tuple[str, NDArray[np.uint8] | str]],
    views: Sequence[View],
    *,
    batch_size: int,
    strict: bool = False,
) -> Iterator[ImageBatch]:
    """Yield images that are in memory already in batches, in order, resized to each view.

    Parameters
    ----------
    images : iterable of (str, ndarray of shape (h, w, 3), uint8)
        The name of each image and its pixels, or the reason why it cannot be read.
    views, batch_size, strict
        See `view_batches`.
    """
    from transfer_cli.data.resizing import RESIZE

    builder = _BatchBuilder(views)
    for index, (name, pixels) in enumerate(images):
        if not isinstance(pixels, str):
            whole = np.ascontiguousarray(pixels)
            builder.add(index, name, "", [RESIZE[view.resize](whole, view.size) for view in views])
        elif strict:
            raise ImageError(f"{name} could not be read: {pixels}.", hint="Leave out strict to skip it.")
        else:
            builder.skipped.append(Skipped(name, pixels))
        if builder.is_full(batch_size):
            yield builder.build()
            builder = _BatchBuilder(views)
    if builder.rows or builder.skipped:
        yield builder.build()


_Decoded = tuple[str, list[NDArray[np.uint8]] | str | None]
"""The digest of a file, and its views, the reason why it cannot be read, or None if it is known."""
_Chunk = tuple[list[tuple[int, str]], "Future[list[_Decoded]]"]
"""Files that one thread reads, with their positions in the input."""


class _BatchBuilder:
    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        self.rows: list[tuple[int, str, str, bool]] = []
        self.images: list[list[NDArray[np.uint8]]] = []
        self.skipped: list[Skipped] = []

    def add(self, index: int, path: str, digest: str, views: list[NDArray[np.uint8]] | None) -> None:
        self.rows.append((index, path, digest, views is None))
        if views is not None:
            self.images.append(views)

    def is_full(self, batch_size: int) -> bool:
        """Return whether the batch is full of decoded images, of skipped files, or of many known images."""
        known = len(self.rows) - len(self.images)
        return batch_size in (len(self.images), len(self.skipped)) or known == _KNOWN_PER_BATCH

    def build(self) -> ImageBatch:
        if self.images:
            images, *other_views = (np.stack(view) for view in zip(*self.images, strict=True))
        else:
            images, *other_views = (np.empty((0, view.size, view.size, 3), np.uint8) for view in self._views)
        indices, paths, digests, known = zip(*self.rows, strict=True) if self.rows else ((),) * 4
        skipped = tuple(self.skipped)
        return ImageBatch(indices, paths, digests, images, np.array(known, bool), skipped, tuple(other_views))


def _read_chunk(paths: Iterable[str], views: Sequence[View], known: Container[str]) -> list[_Decoded]:
    return [_read(path, views, known) for path in paths]


def _read(path: str, views: Sequence[View], known: Container[str]) -> _Decoded:
    with BUDGET.reading(path):
        data = decoding.read_bytes(path)
        if isinstance(data, str):
            return "", address_reason(path) or data
        digest = hashlib.sha256(data).hexdigest()
        if digest in known:
            return digest, None
        try:
            return digest, decoding.decode_views(data, views)
        except Exception as error:  # codecs raise anything, and one broken file must not end the run
            return "", video_reason(path) or decoding.failure_reason(error, data)
