from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, run_command
from tests.untrained_runs import planted
from transfer_cli.bundle.bundle import ModelBundle


def test_the_report_of_a_run_that_was_trained(copy_of_trained: Path) -> None:
    done = run_command("report", copy_of_trained)
    assert (done.code, done.out) == (0, f"{copy_of_trained / 'report.html'}\n"), done.err
    assert "random weights: " in done.err
    page = (copy_of_trained / "report.html").read_text("utf-8")
    assert "29 checks" in page
    assert "This page is not complete" not in page
    again = run_command("--json", "report", copy_of_trained, "-o", copy_of_trained / "other.html", "--open")
    facts = again.json
    assert isinstance(facts, dict)
    assert facts["report"] == str(copy_of_trained / "other.html")
    assert facts["bytes"] == (copy_of_trained / "other.html").stat().st_size
    assert (facts["gone"], facts["left_out"]) == (0, {})
    assert "random weights" in [finding["name"] for finding in facts["findings"]]
    assert (copy_of_trained / "other.html").read_bytes() == (copy_of_trained / "report.html").read_bytes()


def test_pictures_that_are_gone_are_warned_of(tmp_path: Path) -> None:
    run = planted(tmp_path, missing=["test/blue/blue 5.png"])
    done = run_command("report", run.path)
    assert done.code == 0, done.err
    assert "placeholders on the page: 1 picture\n" in done.err


def test_what_cannot_be_reported(transfer_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    missing = transfer_cli("report", "nothing")
    assert (missing.code, missing.out) == (3, "")
    assert "There is no run at nothing" in missing.err
    run = planted(tmp_path)
    other = transfer_cli("report", run.path, "-o", "page.png")
    assert other.code == 2
    assert "ends in .html" in other.err


def test_a_good_page_is_kept_when_the_pictures_have_moved(tmp_path: Path) -> None:
    run = planted(tmp_path)
    assert run_command("report", run.path).code == 0
    before = run.report.read_bytes()
    (tmp_path / "images").rename(tmp_path / "moved")
    refused = run_command("report", run.path)
    assert (refused.code, refused.out) == (3, "")
    assert "54 of 54 pictures" in refused.err
    assert "--images FOLDER" in refused.err
    assert run.report.read_bytes() == before
    assert run_command("report", run.path, "-o", tmp_path / "other.html").code == 0
    found = run_command("report", run.path, "--images", tmp_path / "moved")
    assert (found.code, run.report.read_bytes()) == (0, before), found.err
    assert run_command("report", run.path, "--overwrite").code == 0
    assert run.report.read_bytes() != before


def test_a_bundle_is_not_a_run(trained: Path) -> None:
    done = run_command("report", trained / "model")
    assert done.code == 3
    assert f"Give the run: {trained.resolve()}" in done.err


def test_where_nothing_can_be_written_nothing_is_done(tmp_path: Path) -> None:
    run = planted(tmp_path)
    run.report.mkdir()
    done = run_command("report", run.path)
    assert (done.code, "is a folder" in done.err) == (3, True)
    assert "looking at the pictures" not in done.err


@pytest.mark.parametrize(
    ("name", "content", "without"),
    [
        ("features.parquet", b"nothing", ["the map and what is most alike"]),
        ("events.jsonl", b"{nothing\n", ["the training"]),
        (
            "model/bundle.json",
            b"{",
            ["what spoke for the surest mistakes", "what the bundle does about its certainty"],
        ),
    ],
)
def test_a_section_that_cannot_be_made_is_left_out_and_said(
    name: str, content: bytes, without: list[str], tmp_path: Path
) -> None:
    run = planted(tmp_path)
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).write_bytes(content)
    done = run_command("--json", "report", run.path)
    assert done.code == 0, done.err
    page = run.report.read_text("utf-8")
    assert isinstance(done.json, dict)
    assert list(done.json["left_out"]) == without
    for what in without:
        assert f"warning: the report is without {what}: " in done.err
        assert f"<li>Without {what}: " in page


def test_copies_that_cannot_be_looked_for_are_said(tmp_path: Path) -> None:
    run = planted(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"no picture")
    done = run_command("report", run.path)
    assert done.code == 0, done.err
    assert "warning: the report is without copies in other parts: " in done.err


def test_the_page_says_on_what_the_temperature_was_fitted(copy_of_trained: Path) -> None:
    bundle, directory = ModelBundle.read(copy_of_trained)
    files = {name: (directory / name).read_bytes() for name in bundle.files}

    def save(target: Path) -> None:
        for name, content in files.items():
            (target / name).write_bytes(content)

    for temperature, is_said in ((1.0, False), (1.7, True)):
        bundle.model_copy(update={"temperature": temperature}).write(directory, save)
        done = run_command("report", copy_of_trained)
        assert (done.code, "warning" in done.err) == (0, False), done.err
        page = (copy_of_trained / "report.html").read_text("utf-8")
        assert ("The temperature was fitted on these pictures" in page) == is_said
