"""True draws a bar, False is silent, and warnings go through `warnings` with the line of the user."""

from __future__ import annotations

import io
import sys
import warnings

import pytest

from transfer_cli import progress_bar
from transfer_cli.errors import TransferWarning
from transfer_cli.progress import SILENT
from transfer_cli.progress_bar import ProgressBar, Warnings, progress_of


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def written(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress_bar, "_SECONDS", -1.0)
    bar = progress_of(True)
    with bar.track("predicting", 4) as advance:
        advance(1)
        advance(3)
    bar.note("a \x1b line")
    return stream.getvalue()


def test_bar_is_redrawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(Terminal(), monkeypatch)
    drawn = [part.strip() for part in text.split("\r") if part.strip()]
    assert drawn[0] == f"predicting [{'.' * 30}] 0/4 0 %"
    assert drawn[1] == f"predicting [{'#' * 7}{'.' * 23}] 1/4 25 %, 0 s left"
    assert drawn[2] == f"predicting [{'#' * 30}] 4/4 100 %"
    assert drawn[3].splitlines() == ["predicting: 4 (0.0 s)", "a \\x1b line"]


def test_file_gets_one_line_per_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert written(io.StringIO(), monkeypatch) == "predicting: 4 (0.0 s)\na \\x1b line\n"


def test_notebook_gets_a_bar_although_it_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert "\rpredicting [" in written(io.StringIO(), monkeypatch)


def test_without_total_the_number_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_of(True).track("loading", None):
        pass
    assert stream.getvalue().startswith("\rloading ...")


def test_false_prints_nothing_and_warns_each_once(capfd: pytest.CaptureFixture[str]) -> None:
    reported = progress_of(False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with reported.track("predicting", 3) as advance:
            advance(1)
        reported.note("nothing")
        reported.warn("careful")
        reported.warn("careful")
    assert [(each.category, str(each.message), each.filename) for each in caught] == [
        (TransferWarning, "careful", __file__)
    ]
    assert capfd.readouterr() == ("", "")


def test_progress_of_takes_bool_or_object() -> None:
    assert type(progress_of(True)) is ProgressBar
    assert type(progress_of(False)) is Warnings
    assert progress_of(SILENT) is SILENT
    for wrong in ("yes", None, 1, print):
        with pytest.raises(TypeError, match=r"Expected progress=True \(a bar\), False \(silent\), or an object"):
            progress_of(wrong)  # type: ignore[arg-type]
