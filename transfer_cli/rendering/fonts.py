"""Fonts of drawings: DejaVu Sans, and a font of the system for a text whose letters it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

from transfer_cli.text import listed, printable

_WIDE = ("noto", "cjk", "unifont", "gothic", "hei", "arial unicode", "malgun", "yahei", "ming", "song", "sans")
"""Words in the file names of fonts with many letters: these are tried first."""
_BOXES = ("lastresort", "adobeblank")
"""Fonts that have a box for every letter."""


@cache
def load_font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans, which matplotlib ships and which covers most alphabets."""
    return ImageFont.truetype(_default_path(bold), size)


def font_for(text: str, size: int, *, bold: bool = False) -> FreeTypeFont:
    """Return DejaVu Sans, or an installed font that has all letters of a text if DejaVu Sans has not."""
    path = _path_for(_letters(text), bold)
    return load_font(size, bold=bold) if path is None else ImageFont.truetype(path, size)


def missing_letters_warning(names: Iterable[str]) -> list[str]:
    """Return a warning if letters of names to draw are in no installed font: they are drawn as boxes."""
    lacking = [name for name in dict.fromkeys(names) if _path_for(_letters(name), False) is None]
    if not lacking:
        return []
    return [
        f"no font on this computer has all letters of {listed([printable(name) for name in lacking])}: the drawing has "
        "boxes in their place. Install a font with these letters, for example from the Noto family (Debian, Ubuntu: "
        "sudo apt install fonts-noto-cjk), and run the command again"
    ]


def truncate_to_width(text: str, font: FreeTypeFont, width: float) -> str:
    """Return text as one line of at most `width` pixels, with an ellipsis if it was shortened."""
    line = printable(text).replace("\n", " ")
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def wrap_to_width(text: str, font: FreeTypeFont, width: float) -> list[str]:
    """Return text as lines of at most `width` pixels, broken at spaces; a longer word is broken anywhere."""
    lines, line = [], ""
    for word in printable(text).replace("\n", " ").split(" "):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        while len(longer) > 1 and font.getlength(longer) > width:
            most = next((end for end in range(len(longer) - 1, 1, -1) if font.getlength(longer[:end]) <= width), 1)
            lines.append(longer[:most])
            longer = longer[most:]
        line = longer
    return [*lines, line]


@cache
def _default_path(bold: bool) -> str:
    # Importing matplotlib would take longer than most drawings.
    package = find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(package.origin).parent / "mpl-data/fonts/ttf" / name)


def _letters(text: str) -> frozenset[str]:
    return frozenset(char for char in printable(text) if not char.isspace())


@cache
def _path_for(letters: frozenset[str], bold: bool) -> str | None:
    """Return the file of the first font that has all letters, None if there is none."""
    if letters <= _covered(_default_path(bold), letters):
        return _default_path(bold)
    for path in _system_fonts():
        if letters <= _covered(path, letters) and _can_draw(path):
            return path
    return None


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the installed fonts, those with many letters first."""
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple[bool, bool, str]:
        name = Path(path).name.lower()
        return not any(word in name for word in _WIDE), not ("regular" in name or "medium" in name), path

    paths = [path for path in findSystemFonts() if not any(word in Path(path).name.lower() for word in _BOXES)]
    return tuple(sorted(paths, key=rank))


def _covered(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Return which of some letters a font has."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(letter for letter in letters if font.get_char_index(ord(letter)))
    except (OSError, RuntimeError, ValueError):  # not a font that FreeType reads
        return frozenset()


def _can_draw(path: str) -> bool:
    """Return whether Pillow draws a font at any size; fonts of coloured bitmaps have one size."""
    try:
        ImageFont.truetype(path, 20)
    except OSError:
        return False
    return True
