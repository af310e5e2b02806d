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


HEADER = ("run", "accuracy", "95 % interval", "accuracy below best", "result")
RUNS = [
    ("runs/photos-mobilenet_v2", "0.812", "0.700 to 0.900", "0.010 (-0.030 to 0.050)", "not distinguishable at n = 26"),
    ("runs/second", "0.822", "0.710 to 0.910", "", "best"),
]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_table_text_fits_and_keeps_words_and_numbers_whole(width: int) -> None:
    lines = table_text(HEADER, RUNS, numeric=("accuracy",), width=width).splitlines()
    assert max(map(len, lines)) <= width
    words = sorted(word for line in lines for word in line.split())
    assert words == sorted(" ".join([*HEADER, *(cell for row in RUNS for cell in row)]).split())


def test_table_text_names_too_long_for_columns_have_lines_of_their_own() -> None:
    assert table_text(
        ("file", "MB", "state"), [("x" * 30, "9.4", "not here")], numeric=("MB",), width=30
    ).splitlines() == [
        "file",
        "   MB  state",
        "x" * 30,
        "  9.4  not here",
    ]


def test_table_text_several_long_cells_have_lines_of_their_own() -> None:
    rows = [("a", "x" * 30, "y" * 30, ""), ("b", "1", "2", "3")]
    assert table_text(("name", "one", "two", "three"), rows, width=40).splitlines() == [
        "name: a",
        f"  one: {'x' * 30}",
        f"  two: {'y' * 30}",
        "name: b",
        "  one: 1",
        "  two: 2",
        "  three: 3",
    ]


def test_console_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for kind, most in ((_Screen, 80), (io.TextIOWrapper, 1000)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", kind(raw, encoding="utf-8"))
        Console().table(HEADER, RUNS, None)
        sys.stdout.flush()
        longest = max(map(len, raw.getvalue().decode().splitlines()))
        assert longest <= most
        assert (longest > 80) == (most > 80)


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
    name = f"{HOSTILE} ä"
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
