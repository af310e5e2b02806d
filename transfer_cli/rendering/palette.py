"""Colours of drawings with many classes."""

from __future__ import annotations

Colour = tuple[int, int, int]
# Colours of equal visual weight that colour-blind readers can distinguish: M. A. Petroff, "Accessible Color Sequences
# for Data Visualization", arXiv:2107.02270. Its grey stands for images without a class.
_SEQUENCE = ("3f90da", "ffa90e", "bd1f01", "832db6", "92dadd", "a96b59", "e76300", "b9ac70", "717581")
NO_CLASS: Colour = (0x94, 0xA4, 0xA2)
INK: Colour = (40, 42, 48)
PALE_INK: Colour = (110, 114, 122)
WHITE: Colour = (255, 255, 255)


def class_colours(column: int) -> tuple[Colour, Colour]:
    """Return fill and edge colour of a class by its index; a negative index means no class.

    Both are equal for the first nine classes and differ for those after them.
    """
    if column < 0:
        return NO_CLASS, NO_CLASS
    fill = column % len(_SEQUENCE)
    edge = (fill + column // len(_SEQUENCE)) % len(_SEQUENCE)
    return _rgb(_SEQUENCE[fill]), _rgb(_SEQUENCE[edge])


def contrasting_ink(colour: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a colour."""
    red, green, blue = (value / 255 for value in colour)
    return (0, 0, 0) if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25 else (255, 255, 255)


def _rgb(text: str) -> Colour:
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)
