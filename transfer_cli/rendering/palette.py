"""Colours and letters of drawings with many classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

from transfer_cli.text import printable

Colour = tuple[int, int, int]
# Chosen for equal weight and for eyes that tell few colours apart: M. A. Petroff, "Accessible Color Sequences for Data
# Visualization", arXiv:2107.02270; its grey for what has no class.
_SEQUENCE = ("3f90da", "ffa90e", "bd1f01", "832db6", "92dadd", "a96b59", "e76300", "b9ac70", "717581")
NO_CLASS: Colour = (0x94, 0xA4, 0xA2)


def colours_of(number: int) -> tuple[Colour, Colour]:
    """Return the two colours of a class, by its place among the classes; negative: of no class.

    The first nine have one colour twice, those after them two different ones.
    """
    if number < 0:
        return NO_CLASS, NO_CLASS
    one = number % len(_SEQUENCE)
    other = (one + number // len(_SEQUENCE)) % len(_SEQUENCE)
    return _rgb(_SEQUENCE[one]), _rgb(_SEQUENCE[other])


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a colour."""
    red, green, blue = (value / 255 for value in colour)
    return (0, 0, 0) if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25 else (255, 255, 255)


@cache
def letters(size: int, *, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf" / name), size)


def fitting(text: str, font: FreeTypeFont, width: float) -> str:
    """Return a text as one line no wider than `width` pixels, cut short where it is too long."""
    line = printable(text).replace("\n", " ")
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def _rgb(text: str) -> Colour:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)
