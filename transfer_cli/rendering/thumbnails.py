"""Thumbnails of images as data URIs, up to a maximum size of the page that holds them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transfer_cli.data.decoding import decode_to_fit
from transfer_cli.progress import SILENT, Progress
from transfer_cli.system import cpu_count

THUMBNAIL_SIDE = 128
"""The longer side of a thumbnail in pixels."""
MAX_BYTES = 9_000_000
"""Total size of the thumbnails of a page."""
_QUALITY = 62
_BATCH = 64


class ThumbnailStore:
    """Thumbnails by path, added in order of importance until they reach a total size.

    Attributes
    ----------
    missing : set of str
        Images that cannot be read any more.

    Parameters
    ----------
    root : Path
        The folder that paths are relative to.
    max_bytes : int
        Total size of the data URIs. The batch of images that exceeds it is the last one.
    side : int
        The longer side of each thumbnail in pixels.
    bit_depth : int, optional
        That of the recipe (see `View`).
    """

    def __init__(
        self, root: Path, max_bytes: int = MAX_BYTES, side: int = THUMBNAIL_SIDE, *, bit_depth: int | None = None
    ) -> None:
        self._root, self._bytes_left, self._side, self._bit_depth = root, max_bytes, side, bit_depth
        self._uris: dict[str, str] = {}
        self.missing: set[str] = set()

    def add(self, paths: Iterable[str], progress: Progress = SILENT) -> None:
        """Read images, the most important first, until the maximum size is reached."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._uris and path not in self.missing]
        with progress.track("reading images for the page", len(wanted)) as advance:
            for start in range(0, len(wanted), _BATCH):
                if self._bytes_left <= 0:
                    return
                batch = thumbnails(wanted[start : start + _BATCH], self._root, self._side, self._bit_depth)
                for path, uri in batch.items():
                    if uri is None:
                        self.missing.add(path)
                    else:
                        self._uris[path] = uri
                        self._bytes_left -= len(uri)
                    advance(1)

    def __getitem__(self, path: str) -> str | None:
        """Return the data URI of an image, or None if there is none."""
        return self._uris.get(path)

    def __len__(self) -> int:
        """Return the number of thumbnails."""
        return len(self._uris)


def thumbnails(
    paths: Iterable[str], root: Path, side: int = THUMBNAIL_SIDE, bit_depth: int | None = None
) -> dict[str, str | None]:
    """Return a data URI per path: the whole image, its longer side at most `side` pixels; None if it cannot be read.

    Relative paths are relative to `root`; `bit_depth` is that of the recipe (see `View`).
    """
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(min(8, cpu_count()), thread_name_prefix="thumbnail") as pool:
        uris = pool.map(lambda path: _thumbnail(root / path, side, bit_depth), wanted)
        return dict(zip(wanted, uris, strict=True))


def data_uri(image: NDArray[np.uint8], quality: int = _QUALITY) -> str:
    """Return an RGB image of shape (h, w, 3), uint8, as a WebP data URI."""
    file = BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _thumbnail(path: Path, side: int, bit_depth: int | None) -> str | None:
    image = decode_to_fit(path, side, bit_depth)
    return None if isinstance(image, str) else data_uri(image)
