"""Tables on a terminal."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console as RichConsole

from transfer_cli.cli._console import Console, table_text
from transfer_cli.cli.main import main
from transfer_cli.text import printable


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


HOSTILE = "\x1b]0;title\x07 \x9b31m red \u202egnp.exe \u2066x\u2069 \x7f [bold]b[/bold] \udcff"


def test_printable_leaves_nothing_that_a_terminal_obeys() -> None:
    text = printable(HOSTILE)
    assert all(char.isprintable() for char in text)
    assert text == r"\x1b]0;title\x07 \x9b31m red \u202egnp.exe \u2066x\u2069 \x7f [bold]b[/bold] \udcff"


def test_console_json_escapes_what_a_terminal_obeys_and_keeps_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    name = HOSTILE.replace("\udcff", "ä")
    Console(json=True).result("", {name: [name]})
    out = capsys.readouterr().out
    assert json.loads(out) == {name: [name]}
    assert all(char.isprintable() or char == "\n" for char in out)
    assert "ä" in out


class _Screen(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("on_terminal", [True, False])
def test_console_rows_and_paths_are_escaped_on_a_terminal_only(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", (_Screen if on_terminal else io.TextIOWrapper)(raw, encoding="utf-8"))
    console = Console()
    row = HOSTILE.encode("utf-8", "surrogateescape")
    console.rows.write(row + b",cat\n")
    console.rows.flush()
    console.output(Path(HOSTILE))
    sys.stdout.flush()
    escaped = printable(HOSTILE).encode()
    assert raw.getvalue() == (escaped + b",cat\n" + escaped + b"\n" if on_terminal else row + b",cat\n" + row + b"\n")


def test_console_progress_bar_shows_markup_as_it_is() -> None:
    console = Console()
    screen = io.StringIO()
    console._stderr = RichConsole(file=screen, force_terminal=True, width=80, color_system=None)
    with console.track("reading [red]x[/red] [link=evil]", None):
        pass
    assert "reading [red]x[/red] [link=evil]" in screen.getvalue()


def test_table_text_escapes_its_header() -> None:
    assert table_text((HOSTILE,), [("1",)]).splitlines()[0] == printable(HOSTILE)


def test_usage_error_escapes_what_was_typed(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["cache", "clear", "fea\x1b[2J\u202etures"])
    assert result.exit_code == 2
    assert r"fea\x1b[2J\u202etures" in result.stderr
    assert "\x1b" not in result.stderr
