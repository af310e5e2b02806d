"""The one decoder: a file becomes a uint8 RGB square, or a reason why it cannot."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import warnings
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from transfer_cli.data.skipped import Skipped
from transfer_cli.data.views import View
from transfer_cli.errors import ImageError
from transfer_cli.system import keep_freed_memory, processors

DECODER = "pillow-opencv-2"
"""Changes whenever the same file may give other pixels; stored with every bundle."""

MAXIMUM_PIXELS = 300_000_000
MAXIMUM_BYTES = 2**30
# Pillow's own limit is below a large panorama; above ours a picture is refused, not warned of.
Image.MAX_IMAGE_PIXELS = MAXIMUM_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)
# What Pillow has to say about broken metadata helps nobody who waits for a prediction.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Pillow knows many more, some of which start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
SPARE = 1.5
"""A JPEG is decoded at the smallest scale that leaves so many times the side that is asked for."""
_LARGEST_GROUP = 16
_KNOWN_A_BATCH = 1024
_DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


@dataclass(frozen=True)
class ImageBatch:
    """Some images in input order, and what could not be read among them.

    Attributes
    ----------
    indices : tuple of int
        Position of each image in the input.
    paths : tuple of str
    digests : tuple of str
        SHA-256 of each file, in hexadecimal.
    images : ndarray of shape (m, size, size, 3), uint8
        RGB; m is n unless some were known.
    known : ndarray of shape (n,), bool
        Which of them were known, and so were not decoded.
    skipped : tuple of Skipped
        Files that lie between these images in the input and could not be read.
    others : tuple of ndarray
        The same pictures in each of the other views that were asked for, as `images`.
    """

    indices: tuple[int, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    images: NDArray[np.uint8]
    known: NDArray[np.bool_]
    skipped: tuple[Skipped, ...]
    others: tuple[NDArray[np.uint8], ...] = ()

    @property
    def views(self) -> tuple[NDArray[np.uint8], ...]:
        """The pictures in each view, the one of `images` first."""
        return (self.images, *self.others)


def batches(
    paths: Iterable[str],
    *,
    size: int,
    resize: str,
    batch_size: int,
    others: Sequence[View] = (),
    root: Path | None = None,
    strict: bool = False,
    known: Container[str] = (),
    threads: int | None = None,
) -> Iterator[ImageBatch]:
    """Yield the images at `paths` in batches, in order, decoded ahead by threads in bounded memory.

    Each file is read once. At most four batches of decoded images are held at a time, however many paths there are.

    Parameters
    ----------
    paths : iterable of str
        May be endless.
    size : int
        Side of the square in pixels.
    resize : {"squash", "crop", "pad"}
    batch_size : int
        Decoded images a batch; the last may be smaller, and may hold no image but skipped files.
    others : sequence of View
        Further views of each picture.
    root : Path, optional
        What relative paths are relative to.
    strict : bool
        Raise at the first file that cannot be read.
    known : container of str
        Digests of files that need not be decoded; they are told among the rest, in order.
    threads : int, optional
        As many as there are processors, eight at most, where it is not given.

    Raises
    ------
    ImageError
        With `strict`, at the first file that cannot be read.
    """
    ahead: deque[_Group] = deque()
    numbered = enumerate(paths)
    size_of_group = max(1, min(_LARGEST_GROUP, batch_size // 4))
    views = (View(size, resize), *others)
    pending = _Pending(views)
    keep_freed_memory()
    with ThreadPoolExecutor(threads or min(8, processors()), thread_name_prefix="decode") as pool:
        try:
            while True:
                while sum(len(group) for group, _ in ahead) < 3 * batch_size:
                    group = list(islice(numbered, size_of_group))
                    if not group:
                        break
                    # Paths of a manifest may be absolute; joining a million Paths takes seconds.
                    whole = [path if root is None else os.path.join(root, path) for _, path in group]  # noqa: PTH118
                    ahead.append((group, pool.submit(_read_group, whole, views, known)))
                if not ahead:
                    break
                group, future = ahead.popleft()
                for (index, path), (digest, outcome) in zip(group, future.result(), strict=True):
                    if isinstance(outcome, str):
                        if strict:
                            raise ImageError(
                                f"{path} could not be read: {outcome}.", hint="Without --strict it is skipped."
                            )
                        pending.skipped.append(Skipped(path, outcome))
                    else:
                        pending.add(index, path, digest, outcome)
                    if pending.holds(batch_size):
                        yield pending.take()
            if pending.indices or pending.skipped:
                yield pending.take()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def decode(data: bytes, size: int, resize: str) -> NDArray[np.uint8]:
    """Return the picture in `data` as RGB.

    EXIF orientation is applied, transparency is laid over white, 16 bits are scaled to 8, the first frame of an
    animation is taken. JPEG is decoded at the smallest of the codec's scales (1/2, 1/4, 1/8) that leaves one and a half
    times `size`, then resized with antialiasing.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8

    Raises
    ------
    Exception
        Whatever the codec raises at a broken file.
    """
    return _seen(data, (View(size, resize),))[0]


def _seen(data: bytes, views: Sequence[View]) -> list[NDArray[np.uint8]]:
    """Return the picture in `data` in each view; a view is the same, whichever others are asked for."""
    from transfer_cli.data.resizing import RESIZE  # OpenCV, which a pass over known pictures does without

    pixels: dict[tuple[int, int], NDArray[np.uint8]] = {}
    made = []
    for view in views:
        image = _opened(data, view.size)
        # Views that ask for the same scale are made of one decoding.
        if image.size not in pixels:
            pixels[image.size] = _upright_rgb(image)
        made.append(RESIZE[view.resize](pixels[image.size], view.size))
    return made


def fitted(path: Path, side: int) -> NDArray[np.uint8] | str:
    """Return the whole picture at `path` in its proportions, or the reason why it cannot be read.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB; the longer side has `side` pixels, or fewer where the picture has.
    """
    from transfer_cli.data.resizing import resized

    data = _bytes(str(path))
    if isinstance(data, str):
        return data
    try:
        pixels = _pixels(data, side)
        scale = min(1.0, side / max(pixels.shape[:2]))
        return resized(pixels, *(max(1, round(scale * length)) for length in pixels.shape[1::-1]))
    except Exception as error:  # as in `_read`
        return _reason(error)


def size_of(path: Path) -> tuple[int, int] | None:
    """Return width and height of a picture as it is stored, from its head alone; None where it cannot be read."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.size
    except Exception:  # as in `_read`
        return None


def ratio_of(path: Path) -> float:
    """Return the width of a picture by its height, as it stands upright.

    Raises
    ------
    ImageError
        When it cannot be read.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            # From 5 on a picture lies on its side.
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
    except Exception as error:  # as in `_read`
        raise ImageError(f"{path} could not be read: {_reason(error)}.") from None
    return height / width if lies else width / height


_Decoded = tuple[str, list[NDArray[np.uint8]] | str | None]
"""The digest of a file, and its views, the reason why there is none, or None where it is known."""
_Group = tuple[list[tuple[int, str]], "Future[list[_Decoded]]"]
"""Files that one thread reads at a time, with their places in the input."""


class _Pending:
    """A batch that is not full yet."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        self._empty()

    def _empty(self) -> None:
        self.indices: list[int] = []
        self.paths: list[str] = []
        self.digests: list[str] = []
        self.images: list[list[NDArray[np.uint8]]] = []
        self.known: list[bool] = []
        self.skipped: list[Skipped] = []

    def add(self, index: int, path: str, digest: str, image: list[NDArray[np.uint8]] | None) -> None:
        self.indices.append(index)
        self.paths.append(path)
        self.digests.append(digest)
        self.known.append(image is None)
        if image is not None:
            self.images.append(image)

    def holds(self, batch_size: int) -> bool:
        """Return whether it is full: of decoded images, of skipped files, or of many that were known."""
        known = len(self.indices) - len(self.images)
        return batch_size in (len(self.images), len(self.skipped)) or known == _KNOWN_A_BATCH

    def take(self) -> ImageBatch:
        if self.images:
            images, *others = (np.stack(view) for view in zip(*self.images, strict=True))
        else:
            images, *others = (np.empty((0, view.size, view.size, 3), np.uint8) for view in self._views)
        batch = ImageBatch(
            tuple(self.indices),
            tuple(self.paths),
            tuple(self.digests),
            images,
            np.array(self.known, bool),
            tuple(self.skipped),
            tuple(others),
        )
        self._empty()
        return batch


def _read_group(paths: Iterable[str], views: Sequence[View], known: Container[str]) -> list[_Decoded]:
    return [_read(path, views, known) for path in paths]


def _read(path: str, views: Sequence[View], known: Container[str]) -> _Decoded:
    data = _bytes(path)
    if isinstance(data, str):
        return "", data
    digest = hashlib.sha256(data).hexdigest()
    if digest in known:
        return digest, None
    try:
        return digest, _seen(data, views)
    except Exception as error:  # codecs raise anything at foreign bytes, and one file must not end the run
        return "", _reason(error)


def _bytes(path: str) -> bytes | str:
    """Return what is in a file, or the reason why it cannot be read."""
    try:
        # A pipe or a device would hold the whole run until somebody writes to it.
        status = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(status.st_mode):
            return "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        if status.st_size > MAXIMUM_BYTES:
            return f"larger than {MAXIMUM_BYTES >> 20} MiB"
        with open(path, "rb", buffering=0) as file:
            data: bytes = file.readall()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return data or "the file is empty"


def _pixels(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return the picture in `data`, upright and RGB, of any shape; a JPEG only as large as `size` asks for."""
    return _upright_rgb(_opened(data, size))


def _opened(data: bytes, size: int) -> Image.Image:
    """Return the picture in `data`, its size known and its pixels not yet decoded."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    image.draft(None, (math.ceil(SPARE * size),) * 2)
    return image


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    return np.asarray(_to_rgb(_upright(image)))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a known format"
    return str(error) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels were read; a broken EXIF block says nothing about how they stand
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES or image.mode == "I":
        deep = np.asarray(image).astype(np.float32)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("32-bit picture with values beyond 16 bits; convert it to 8 or 16 bits")
        return Image.fromarray(np.rint(deep / 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point picture, whose black and white are not known; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
