"""``transfer-cli auto`` as users run it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Outcome
from transfer_cli.cli.main import main


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
def test_auto_messy_folder_writes_report(colours: Path, transfer_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "photos"))
    (folder / "red/broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("mine")
    result = transfer_cli("--offline", "auto", "photos", "--time-budget", "60s")
    assert result.code == 5, result.err
    assert result.out == "runs/auto-photos\n"
    for step in range(1, 8):
        assert f"{step}/7 " in result.err
    assert "1/7 split: 22 training, 3 validation, 12 test images (chosen by file content" in result.err
    assert "add images); test held out" in result.err
    assert "1 image could not be read" in result.err
    assert "next: transfer-cli predict runs/auto-photos " in result.err
    run = tmp_path / "runs/auto-photos"
    assert (run / "report.html").is_file()
    assert "broken.png" in (run / "skipped.csv").read_text()
    message = transfer_cli("predict", "runs/auto-photos", "photos/blue", "--top-k", "1")
    assert message.code == 0, message.err
    again = transfer_cli("--offline", "auto", "photos", "--time-budget", "60s")
    assert again.code == 5
    assert "this run is already complete; nothing to do" in again.err


def test_auto_wrong_input_fails_before_work(colours: Path, tmp_path: Path) -> None:
    arguments = ("--offline", "auto", colours, "-o", tmp_path / "run")
    code, _, message = call(*arguments, "--group-by", "near-duplicates")
    assert code == 3
    assert "data split FOLDER --group-by near-duplicates" in message
    code, _, message = call(*arguments, "--among", "mobilnet_v2")
    assert code == 2
    assert "Did you mean mobilenet_v2?" in message
    code, _, message = call(*arguments, "--among", "resnet50")
    assert code == 4
    assert "resnet50 needs a one-time download of 94 MB (its ImageNet weights), but --offline was given" in message
    assert not (tmp_path / "run").exists()
    code, _, message = call("auto", tmp_path / "nothing")
    assert code == 3
    code, _, message = call(*arguments, "--time-budget", "soon")
    assert code == 2
    assert "10m" in message
