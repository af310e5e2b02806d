"""``transfer-cli auto`` as a person meets it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Outcome
from transfer_cli.cli.main import main


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.slow
def test_one_command_from_a_messy_folder_to_a_report(
    colours: Path, transfer_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "photos"))
    (folder / "red/broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("mine")
    done = transfer_cli("--offline", "auto", "photos", "--time-budget", "60s")
    assert done.code == 5, done.err
    assert done.out == "runs/auto-photos\n"
    for step in range(1, 8):
        assert f"{step}/7 " in done.err
    assert "1/7 the parts: train 22, val 3, test 12 (by content); test is put aside" in done.err
    assert "1 pictures could not be read" in done.err
    assert "next: transfer-cli predict runs/auto-photos YOUR_PICTURES" in done.err
    run = tmp_path / "runs/auto-photos"
    assert (run / "report.html").is_file()
    assert "broken.png" in (run / "skipped.csv").read_text()
    said = transfer_cli("predict", "runs/auto-photos", "photos/blue", "--top-k", "1")
    assert said.code == 0, said.err
    again = transfer_cli("--offline", "auto", "photos", "--time-budget", "60s")
    assert again.code == 5
    assert "this run is complete: nothing was done" in again.err


def test_what_cannot_be_is_said_at_once(colours: Path, tmp_path: Path) -> None:
    words = ("--offline", "auto", colours, "-o", tmp_path / "run")
    code, _, said = call(*words, "--group-by", "near-duplicates")
    assert code == 3
    assert "data split FOLDER --group-by near-duplicates" in said
    code, _, said = call(*words, "--among", "mobilnet_v2")
    assert code == 2
    assert "Did you mean mobilenet_v2?" in said
    code, _, said = call(*words, "--among", "resnet50")
    assert code == 4
    assert "--download" in said
    assert not (tmp_path / "run").exists()
    code, _, said = call("auto", tmp_path / "nothing")
    assert code == 3
    code, _, said = call(*words, "--time-budget", "soon")
    assert code == 2
    assert "10m" in said
