"""What else is done with a model is done with an ensemble, or a person is told what to type instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.browser import chromium, faults
from transfer_cli.cli.main import main
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.report.diagnostics import CHECKS, findings
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.report import report
from transfer_cli.report.run_facts_reader import case_of
from transfer_cli.report.summary import sentences, together
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_directory import RunDirectory

Join = Callable[..., Path]


@pytest.fixture(scope="session")
def run(join: Join) -> Path:
    return join("average", "plain", "finetuned", "large")


def test_the_page_tells_of_the_members(run: Path, tmp_path: Path) -> None:
    made = report(FinishedRun.read(run), tmp_path / "report.html")
    assert made.left_out == {}
    page = made.path.read_text("utf-8")
    company = MemberComparison.read(RunDirectory(run).members)
    assert 'id="members"' in page
    for row, shares in zip(company.rows, company.disagreement, strict=True):
        assert row.name in page
        assert f"{100 * row.gain['value']:+.1f}" in page
        assert all(f"{100 * share:.0f} %" in page for share in shares)
    assert "of which an ensemble has none of its own" in page
    assert "3 models (mobilenet@0.25) answer as one (the mean of the members' probabilities)" in page.replace(
        "&#39;", "'"
    )
    with chromium(tmp_path / "profile") as browser:
        assert faults(browser, made.path) == []
        # The twin: a column too wide for its place is seen.
        wide = page.replace('<p class="small">The gain', '<p style="width:3000px">The gain')
        assert wide != page
        made.path.write_text(wide, "utf-8")
        assert any("the body is" in fault for fault in faults(browser, made.path))


def test_a_page_without_its_members_says_so(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunDirectory, "members", property(lambda self: tmp_path / "nothing.json"))
    made = report(FinishedRun.read(run), tmp_path / "report.html")
    assert "nothing.json cannot be read" in made.left_out["its members"]
    assert 'id="members"' not in made.path.read_text("utf-8")


def test_the_summary_says_whether_it_was_worth_it(run: Path) -> None:
    company = MemberComparison.read(RunDirectory(run).members)
    best = replace(
        company.rows[0],
        name="best",
        accuracy={"value": 0.9, "low": 0.8, "high": 0.95},
        gain={"value": 0.02, "low": -0.01, "high": 0.05},
    )
    worse = replace(best, name="worse", accuracy={"value": 0.8, "low": 0.7, "high": 0.9})
    (said,) = together(replace(company, rows=(worse, best)))
    assert said.startswith(
        f"On the {company.images} pictures of test the best of its members, best, has 90.0 % by itself, and the "
        "ensemble is 2.0 points better (95 % interval 1.0 points worse to 5.0 points better), which may be chance."
    )
    sure = replace(best, gain={"value": -0.03, "low": -0.05, "high": -0.01})
    assert (
        "3.0 points worse (95 % interval 5.0 points worse to 1.0 points worse). It"
        in together(replace(company, rows=(sure,)))[0]
    )
    assert together(None) == together(replace(company, part="")) == []


def test_what_a_doctor_says_can_be_typed(run: Path) -> None:
    """No advice has the command of an ensemble with the options of a training."""
    finished = FinishedRun.read(run)
    parts = {part: finished.answered(part) for part in finished.parts}
    case = case_of(finished, parts, TrainingHistory((), None, (), ()), None)
    assert (case.method, case.from_scratch, case.image_size) == ("ensemble", False, 224)
    every = replace(case, duplicates=3)
    (found,) = [each for each in findings(every) if each.name == "duplicates across parts"]
    assert "each member by its own command with `--overwrite`, then `" in found.next
    assert len(CHECKS) > 20
    for each in findings(every):
        assert "transfer-cli ensemble " not in each.next or each.next.endswith("--overwrite`")
    first = next(iter(case.scored))
    assert sentences(replace(case, networks=("a", "b")), first, case.scored[first])[0].startswith("3 models (a, b) ")


def test_of_val_it_says_what_was_chosen_there(run: Path) -> None:
    finished = FinishedRun.read(run)
    val = {"val": finished.answered("val")}
    case = case_of(finished, val, TrainingHistory((), None, (), ()), None)
    assert "which the settings of its members were chosen" in sentences(case, "val", case.scored["val"])[0]


@pytest.mark.parametrize("words", [("map",), ("leaks",), ("similar",)])
def test_what_takes_features_names_the_members(words: tuple[str, ...], run: Path, colours: Path) -> None:
    extra = [str(next(iter(sorted(colours.rglob("*.png")))))] if words == ("similar",) else []
    done = CliRunner().invoke(main, [*words, str(run), *extra])
    assert done.exit_code == 3
    assert "is an ensemble, which has no features of its own" in done.stderr
    assert "plain" in done.stderr


def test_predict_evaluate_compare_and_show(run: Path, members: dict[str, Path], colours: Path, tmp_path: Path) -> None:
    def said(*words: str | Path) -> str:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    said("predict", run, colours, "-o", tmp_path / "predictions.csv")
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 37
    figures = json.loads(said("--json", "evaluate", run, colours, "-o", tmp_path / "evaluated"))
    assert figures
    assert "plain" in said("compare", run, members["plain"])
    shown = said("bundle", "show", run)
    assert "member 03" in shown
    assert "large: features, mobilenet@0.25, 48 x 48, crop, weight 0.333" in shown
