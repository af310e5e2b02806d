"""Other commands on an ensemble: report, predict, evaluate, compare; or an error that names its members."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.browser import chromium, faults
from transfer_cli.cli.main import main
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.progress import SILENT
from transfer_cli.report.diagnostics import CHECKS, diagnose
from transfer_cli.report.history import TrainingHistory
from transfer_cli.report.report import report
from transfer_cli.report.run_facts_reader import read_run_facts
from transfer_cli.report.sections.summary import ensemble_sentences, sentences
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_directory import RunDirectory

pytestmark = pytest.mark.integration

Join = Callable[..., Path]


@pytest.fixture(scope="session")
def run(join: Join) -> Path:
    return join("average", "plain", "finetuned", "large")


@pytest.mark.integration
def test_report_of_ensemble_lists_the_members(run: Path, tmp_path: Path) -> None:
    made = report(FinishedRun.read(run), tmp_path / "report.html")
    assert made.omissions == {}
    page = made.path.read_text("utf-8")
    company = MemberComparison.read(RunDirectory(run).members)
    assert 'id="members"' in page
    for row, shares in zip(company.rows, company.disagreement, strict=True):
        assert row.name in page
        assert f"{100 * row.gain['value']:+.1f}" in page
        assert all(f"{100 * share:.0f} %" in page for share in shares)
    assert "An ensemble has no features of its own" in page
    sentence = "An ensemble of 3 models (mobilenet@0.25), combined as follows: the mean of the members' probabilities."
    assert sentence in page.replace("&#39;", "'")
    with chromium(tmp_path / "profile") as browser:
        assert faults(browser, made.path) == []
        # Counter-check: a column that is too wide is detected.
        wide = page.replace('<p class="small">Differences have', '<p style="width:3000px">Differences have')
        assert wide != page
        made.path.write_text(wide, "utf-8")
        assert any("the body is" in fault for fault in faults(browser, made.path))


def test_report_without_members_json_lists_it_as_left_out(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    RunDirectory(copy).members.unlink()
    made = report(FinishedRun.read(copy), tmp_path / "report.html", progress=SILENT)
    assert "members.json cannot be read" in made.omissions["the members"]
    assert 'id="members"' not in made.path.read_text("utf-8")


def test_ensemble_sentences_report_the_gain_of_the_ensemble(run: Path) -> None:
    company = MemberComparison.read(RunDirectory(run).members)
    best = replace(
        company.rows[0],
        name="best",
        accuracy={"value": 0.9, "low": 0.8, "high": 0.95},
        gain={"value": 0.02, "low": -0.01, "high": 0.05},
    )
    worse = replace(best, name="worse", accuracy={"value": 0.8, "low": 0.7, "high": 0.9})
    (sentence,) = ensemble_sentences(replace(company, rows=(worse, best)))
    assert sentence.startswith(
        f"On {company.images} test images the best member, best, has an accuracy of 90.0 %; the "
        "ensemble is 2.0 points better (95 % interval 1.0 points worse to 5.0 points better), which may be chance."
    )
    sure = replace(best, gain={"value": -0.03, "low": -0.05, "high": -0.01})
    (sentence,) = ensemble_sentences(replace(company, rows=(sure,)))
    assert "3.0 points worse (95 % interval 5.0 points worse to 1.0 points worse). The ensemble takes" in sentence
    assert ensemble_sentences(None) == ensemble_sentences(replace(company, part="")) == []


def test_findings_of_ensemble_advise_commands_that_exist(run: Path) -> None:
    """No advice has the command of an ensemble with the options of a training."""
    finished = FinishedRun.read(run)
    parts = {part: finished.predictions_of(part) for part in finished.parts}
    facts = read_run_facts(finished, parts, TrainingHistory((), None, (), ()), None)
    assert (facts.method, facts.from_scratch, facts.image_size) == ("ensemble", False, 224)
    leaking = replace(facts, exact_duplicates=3)
    (finding,) = [each for each in diagnose(leaking) if each.name == "leakage: identical files"]
    assert "each member with its own command and `--overwrite`, then `" in finding.next_step
    assert len(CHECKS) > 20
    for each in diagnose(leaking):
        assert "transfer-cli ensemble " not in each.next_step or each.next_step.endswith("--overwrite`")
    part = next(iter(facts.scores))
    first = sentences(replace(facts, networks=("a", "b")), part)[0]
    assert first.startswith("An ensemble of 3 models (a, b), ")


def test_sentences_on_val_name_what_was_selected_there(run: Path) -> None:
    finished = FinishedRun.read(run)
    val = {"val": finished.predictions_of("val")}
    facts = read_run_facts(finished, val, TrainingHistory((), None, (), ()), None)
    assert "also used to choose the settings of its members" in sentences(facts, "val")[0]


@pytest.mark.parametrize("words", [("map",), ("leaks",), ("similar",)])
def test_commands_on_features_name_the_members(words: tuple[str, ...], run: Path, colours: Path) -> None:
    extra = [str(next(iter(sorted(colours.rglob("*.png")))))] if words == ("similar",) else []
    done = CliRunner().invoke(main, [*words, str(run), *extra])
    assert done.exit_code == 3
    assert "is an ensemble, which has no features of its own" in done.stderr
    assert "plain" in done.stderr


def test_predict_evaluate_compare_and_show_accept_an_ensemble(
    run: Path, members: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    def run_command(*words: str | Path) -> str:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
        return done.stdout

    run_command("predict", run, colours, "-o", tmp_path / "predictions.csv")
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(rows) == 37
    metrics = json.loads(run_command("--json", "evaluate", run, colours, "-o", tmp_path / "evaluated"))
    assert metrics
    assert "plain" in run_command("compare", run, members["plain"])
    shown = run_command("bundle", "show", run)
    assert "member 03" in shown
    assert "large: features, mobilenet@0.25, 48 x 48, crop, weight 0.333" in shown
