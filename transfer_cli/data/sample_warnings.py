"""What the files of a folder hold that training would not see: 16-bit samples with unused bits, further pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, TiffImagePlugin

from transfer_cli.data import decoding
from transfer_cli.data.sample_depth import MIN_BITS, DeepSamples, correct_layout, used_bits
from transfer_cli.regular_file import open_regular
from transfer_cli.text import counted

_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24
_TIFF_SUFFIXES = (".tif", ".tiff")
_MAX_HEADERS, _MAX_DECODED, _MAX_PIXELS = 500, 100, 50_000_000
_MAX_NARROW_BITS = 14
"""Fewer unused bits than two make an image at most half as bright, as an underexposed one is."""
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 1 | 4


def sample_warnings(root: Path, paths: Iterable[str], bit_depth: int | None = None) -> list[str]:
    """Return a warning if 16-bit images use few bits, and one if TIFF files have pages that are not read.

    Headers are read of at most 500 files, and pixels of at most 100 images with 16 bits per sample, evenly spaced; the
    first image that uses its bits ends the search.

    Parameters
    ----------
    root : Path
    paths : iterable of str
        Relative to `root`.
    bit_depth : int, optional
        That of the recipe (see `View`).
    """
    candidates = [path for path in paths if path.lower().endswith((".png", *_TIFF_SUFFIXES))]
    deep: list[str] = []
    paged: list[str] = []
    for path in _evenly_spaced(candidates, _MAX_HEADERS):
        with suppress(Exception):  # the decoder reports files that cannot be read
            is_deep, has_pages = _header(root / path)
            deep += [path] * is_deep
            paged += [path] * has_pages
    return [line for line in (_of_depth(root, deep, bit_depth), _of_pages(paged)) if line]


def _of_depth(root: Path, deep: Sequence[str], bit_depth: int | None) -> str | None:
    highest, examined, example = 0, 0, ""
    for path in _evenly_spaced(deep, _MAX_DECODED):
        with suppress(Exception):
            if bits := _used_bits(root / path):
                examined += 1
                highest, example = max((highest, example), (bits, path))
        if highest > (_MAX_NARROW_BITS if bit_depth is None else bit_depth):
            break
    if not examined:
        return None
    if bit_depth is not None:
        if highest <= bit_depth:
            return None
        return (
            f"{example} uses {highest} bits per sample, more than the bit depth {bit_depth}: brighter samples become "
            f"white; expected --bit-depth {highest}, or none if the images use all 16 bits"
        )
    if highest > _MAX_NARROW_BITS:
        return None
    files = f"all {examined} examined images" if examined > 1 else "the only image"
    depth = max(highest, MIN_BITS)
    return (
        f"{files} with 16 bits per sample {'use' if examined > 1 else 'uses'} at most the lowest {depth} bits and will "
        f"look nearly black to the network (e.g. {example}); to read them at their brightness: --bit-depth {depth}"
    )


def _of_pages(paged: Sequence[str]) -> str | None:
    if not paged:
        return None
    return (
        f"{counted(len(paged), 'TIFF file')} {'has' if len(paged) == 1 else 'have'} several pages, and only the first "
        f"page is read (e.g. {paged[0]}); if the pages are channels, save them as one RGB image; if they are separate "
        "images, save each as a file"
    )


def _header(path: Path) -> tuple[bool, bool]:
    """Return whether a file has 16 bits per sample and no declared range, and whether it has further pages."""
    if not path.is_file():  # a pipe would block
        return False, False
    with open_regular(path) as file:
        if not path.name.lower().endswith(_TIFF_SUFFIXES):
            start = file.read(_PNG_DEPTH + 1)
            return start.startswith(_PNG) and start[_PNG_DEPTH] == 16, False
        image = decoding.identify(file)
        correct_layout(image)
        samples = DeepSamples.of(image)
        return samples is not None and samples.may_be_narrower and image.mode != "F", _has_pages(image)


def _has_pages(image: Image.Image) -> bool:
    """Return whether the second page of a TIFF is as large as the first; a smaller one is a preview."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    size = image.size
    try:
        image.seek(1)
    except EOFError:
        return False
    return image.size == size and not image.tag_v2.get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK


def _used_bits(path: Path) -> int:
    data = decoding.read_bytes(str(path))
    if isinstance(data, str):
        return 0
    image = decoding.open_image(data)
    if image.width * image.height > _MAX_PIXELS:
        return 0
    image.load()
    return used_bits(image)


def _evenly_spaced(paths: Sequence[str], count: int) -> Sequence[str]:
    step = max(1, -(-len(paths) // count))
    return paths[::step]
