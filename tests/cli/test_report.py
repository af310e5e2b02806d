from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Outcome, run_command
from tests.planted import planted


def test_the_report_of_a_run_that_was_trained(copy_of_trained: Path) -> None:
    done = run_command("report", copy_of_trained)
    assert (done.code, done.out) == (0, f"{copy_of_trained / 'report.html'}\n"), done.err
    assert "random weights: " in done.err
    assert "29 checks" in (copy_of_trained / "report.html").read_text("utf-8")
    again = run_command("--json", "report", copy_of_trained, "-o", copy_of_trained / "other.html", "--open")
    facts = again.json
    assert isinstance(facts, dict)
    assert facts["report"] == str(copy_of_trained / "other.html")
    assert facts["bytes"] == (copy_of_trained / "other.html").stat().st_size
    assert facts["gone"] == 0
    assert "random weights" in [finding["name"] for finding in facts["findings"]]
    assert (copy_of_trained / "other.html").read_bytes() == (copy_of_trained / "report.html").read_bytes()


def test_pictures_that_are_gone_are_warned_of(tmp_path: Path) -> None:
    run = planted(tmp_path, missing=["test/blue/blue 5.png"])
    done = run_command("report", run.path)
    assert done.code == 0, done.err
    assert "1 pictures are not in" in done.err


def test_what_cannot_be_reported(transfer_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    missing = transfer_cli("report", "nothing")
    assert (missing.code, missing.out) == (3, "")
    assert "There is no run at nothing" in missing.err
    run = planted(tmp_path)
    other = transfer_cli("report", run.path, "-o", "page.png")
    assert other.code == 2
    assert "ends in .html" in other.err
