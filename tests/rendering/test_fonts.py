from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from transfer_cli.rendering import fonts

FOX, HARE = "\u72d0", "\u5154"


@pytest.fixture(autouse=True)
def _own_fonts() -> Iterator[None]:
    fonts._path_for.cache_clear()
    yield
    fonts._path_for.cache_clear()


def test_wrap_to_width_loses_no_letter() -> None:
    font = fonts.load_font(12)
    text = "a title of several words and-a-file-name-without-a-single-blank-that-is-wider-than-the-line.jpg end"
    lines = fonts.wrap_to_width(text, font, 120)
    assert all(font.getlength(line) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert lines[0] == "a title of several"
    assert fonts.wrap_to_width("short", font, 120) == ["short"]
    assert fonts.wrap_to_width("ab", font, 1) == ["a", "b"]


def write_font(path: Path, letters: str) -> Path:
    """Write a font with a triangle for each letter, the second twice as wide as the first, and so on."""
    builder = FontBuilder(1000)
    names = [".notdef", *(f"glyph{number}" for number in range(len(letters)))]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"glyph{number}" for number, letter in enumerate(letters)})
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        pen.lineTo((300 * (number + 1), 0))
        pen.lineTo((0, 700))
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def test_font_for_common_letters_is_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: pytest.fail("the fonts of the system are not needed"))
    assert fonts.font_for("caf\u00e9 \u043b\u0438\u0441\u0430 \u03b1", 20).path == fonts.load_font(20).path
    assert fonts.missing_letters_warning(["fox", "fo\u200bx"]) == []


def test_font_for_other_letters_is_an_installed_font_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"nothing")
    half, whole = write_font(tmp_path / "half.ttf", FOX), write_font(tmp_path / "whole.ttf", FOX + HARE)
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (str(broken), str(half), str(whole)))
    font = fonts.font_for(FOX + HARE, 26, bold=True)
    assert Path(str(font.path)) == whole
    assert bytes(font.getmask(FOX)) != bytes(font.getmask(HARE))
    assert fonts.missing_letters_warning([FOX, HARE]) == []


@pytest.mark.parametrize("name", [FOX, "fox \U0001f98a", "\u0915\u0941\u0924\u094d\u0924\u093e"])
def test_missing_letters_are_a_warning_with_the_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", tuple)
    (warning,) = fonts.missing_letters_warning(["hare", name])
    assert warning.startswith(f"no font on this computer has all letters of {name}:")
    assert fonts.font_for(name, 20).path == fonts.load_font(20).path
