"""Tables on a terminal."""

from __future__ import annotations

import pytest

from transfer_cli.cli._console import Console, table_text


def test_table_text_aligns_columns() -> None:
    rows = [("*", "a[b]:cat:", "12"), ("", "long name", "1,234")]
    assert table_text(("", "name", "size"), rows, numeric=("size",)).splitlines() == [
        "   name        size",
        "*  a[b]:cat:     12",
        "   long name  1,234",
    ]


def test_table_text_long_cells_are_not_cut() -> None:
    cell = "x " * 500 + "end"
    assert table_text(("name",), [(cell,)]).splitlines() == ["name", cell]


def test_table_text_escapes_control_characters() -> None:
    assert table_text(("name",), [("\x1b[2J\nnext",)]).splitlines() == ["name", r"\x1b[2J\nnext"]


def test_console_note_prints_emoji_codes_and_markup_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Console().note("a:cat:b [bold]c")
    assert capsys.readouterr().err == "a:cat:b [bold]c\n"
