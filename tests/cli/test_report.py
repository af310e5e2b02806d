from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, run_command
from tests.untrained_runs import planted
from transfer_cli.bundle.bundle import ModelBundle


def test_report_of_trained_run_is_complete(copy_of_trained: Path) -> None:
    result = run_command("report", copy_of_trained)
    assert (result.code, result.out) == (0, f"{copy_of_trained / 'report.html'}\n"), result.err
    assert "random weights: " in result.err
    page = (copy_of_trained / "report.html").read_text("utf-8")
    assert "31 checks" in page
    assert "This page is incomplete" not in page
    again = run_command("--json", "report", copy_of_trained, "-o", copy_of_trained / "other.html", "--open")
    data = again.json
    assert isinstance(data, dict)
    assert data["report"] == str(copy_of_trained / "other.html")
    assert data["bytes"] == (copy_of_trained / "other.html").stat().st_size
    assert (data["missing_images"], data["omissions"]) == (0, {})
    assert "random weights" in [finding["name"] for finding in data["findings"]]
    assert (copy_of_trained / "other.html").read_bytes() == (copy_of_trained / "report.html").read_bytes()


def test_report_missing_images_are_warned(tmp_path: Path) -> None:
    run = planted(tmp_path, missing=["test/blue/blue 5.png"])
    result = run_command("report", run.path)
    assert result.code == 0, result.err
    assert "1 image missing in " in result.err


def test_report_wrong_usage_is_error(transfer_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    missing = transfer_cli("report", "nothing")
    assert (missing.code, missing.out) == (4, "")
    assert "There is no run at nothing" in missing.err
    run = planted(tmp_path)
    other = transfer_cli("report", run.path, "-o", "page.png")
    assert other.code == 2
    assert "ends in .html or .htm" in other.err


@pytest.mark.integration
def test_report_moved_images_keep_old_page(tmp_path: Path) -> None:
    run = planted(tmp_path)
    assert run_command("report", run.path).code == 0
    before = run.report.read_bytes()
    (tmp_path / "images").rename(tmp_path / "moved")
    refused = run_command("report", run.path)
    assert (refused.code, refused.out) == (3, "")
    assert "54 of 54 images" in refused.err
    assert "--images DIR" in refused.err
    assert run.report.read_bytes() == before
    assert run_command("report", run.path, "-o", tmp_path / "other.html").code == 0
    found = run_command("report", run.path, "--images", tmp_path / "moved")
    assert (found.code, run.report.read_bytes()) == (0, before), found.err
    assert run_command("report", run.path, "--overwrite").code == 0
    assert run.report.read_bytes() != before


def test_report_bundle_suggests_run(trained: Path) -> None:
    result = run_command("report", trained / "model")
    assert result.code == 3
    assert f"Use the run: {trained.resolve()}" in result.err


def test_report_unwritable_output_fails_before_work(tmp_path: Path) -> None:
    run = planted(tmp_path)
    run.report.mkdir()
    result = run_command("report", run.path)
    assert (result.code, "is a folder" in result.err) == (3, True)
    assert "measuring the images" not in result.err


@pytest.mark.parametrize(
    ("name", "content", "without"),
    [
        ("features.parquet", b"nothing", ["the map and similar images"]),
        ("events.jsonl", b"{nothing\n", ["the training history"]),
        (
            "model/bundle.json",
            b"{",
            ["the saliency maps of confident mistakes", "the calibration of the model"],
        ),
    ],
)
def test_report_failed_section_is_left_out_with_reason(
    name: str, content: bytes, without: list[str], tmp_path: Path
) -> None:
    run = planted(tmp_path)
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).write_bytes(content)
    result = run_command("--json", "report", run.path)
    assert result.code == 0, result.err
    page = run.report.read_text("utf-8")
    assert isinstance(result.json, dict)
    assert list(result.json["omissions"]) == without
    for what in without:
        assert f"warning: the report is incomplete, without {what}: " in result.err
        assert f"<li>{what}: " in page


def test_report_unreadable_images_leave_out_leakage(tmp_path: Path) -> None:
    run = planted(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"no image")
    result = run_command("report", run.path)
    assert result.code == 0, result.err
    assert "warning: the report is incomplete, without the search for near-duplicates: " in result.err


@pytest.mark.integration
def test_report_explains_fitted_temperature(copy_of_trained: Path) -> None:
    bundle, directory = ModelBundle.read(copy_of_trained)
    files = {name: (directory / name).read_bytes() for name in bundle.files}

    def save(target: Path) -> None:
        for name, content in files.items():
            (target / name).write_bytes(content)

    for temperature, is_said in ((1.0, False), (1.7, True)):
        bundle.model_copy(update={"temperature": temperature}).write(directory, save)
        result = run_command("report", copy_of_trained)
        assert (result.code, "warning" in result.err) == (0, False), result.err
        page = (copy_of_trained / "report.html").read_text("utf-8")
        assert ("The temperature was fitted on these images" in page) == is_said
