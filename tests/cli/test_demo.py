"""``transfer-cli demo`` as a user sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome, run_command

OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_command("--json", "demo", cwd=folder, env=OFFLINE)


def test_demo_first_call_trains_reports_and_predicts(demo: tuple[Path, Outcome]) -> None:
    folder, done = demo
    assert done.code == 0, done.err
    assert isinstance(done.json, dict)
    assert done.json["test_accuracy"]["value"] > done.json["random"]["value"] + 0.3
    assert (folder / done.json["report"]).is_file()
    labels = [row["label"] == Path(row["path"]).parent.name for row in done.json["predictions"]]
    assert len(labels) == 3
    assert sum(labels) >= 2
    assert {path.name for path in folder.iterdir()} == {"runs"}
    for words in ("writes to runs/demo", "with random weights", "Open this file in a browser", "extract YOUR_FOLDER"):
        assert words in done.err


def test_demo_second_call_reuses_the_first(demo: tuple[Path, Outcome]) -> None:
    folder, first = demo
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run_command("--json", "demo", cwd=folder)
    assert (again.code, again.json) == (0, first.json)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_demo_foreign_folder_in_its_place_is_refused(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    (tmp_path / "runs/demo/images/mine").mkdir(parents=True)
    done = transfer_cli("demo")
    assert done.code == 3
    assert "runs/demo/images" in done.err


def test_demo_that_cannot_write_here_says_where_to_run_it(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    # Root may write anywhere, but not below a file.
    (tmp_path / "runs").write_text("mine")
    done = transfer_cli("demo")
    assert done.code == 3
    assert "runs/demo/images could not be written: " in done.err
    assert "(cd FOLDER), then run it again: transfer-cli demo" in done.err
    assert "Choose another place" not in done.err
