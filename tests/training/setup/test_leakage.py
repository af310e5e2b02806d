"""What a training reports about near-duplicates across its parts, and the command that trains without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.audit.test_held_out_copies import scene, visited
from transfer_cli import ImageFolder, RunDirectory, Split, TrainingRequest
from transfer_cli.audit.leakage import PAIR_COLUMNS
from transfer_cli.data.split import SplitRow
from transfer_cli.features import fingerprints
from transfer_cli.features.fingerprints import Fingerprints
from transfer_cli.io.csv_tables import read_table
from transfer_cli.runs.score_limits import mending_command
from transfer_cli.training.setup.leakage import leaked_rows

PARTS = ("train", "train", "train", "test", "test")
"""Scenes 0, 1, 2, then a frame of scene 1, and scene 5."""


class Recorder:
    """Collects the messages of a training."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    warn = note


@pytest.fixture
def request_of(tmp_path: Path) -> TrainingRequest:
    folder = ImageFolder(tmp_path / "photos", (), ("a", "b"), {}, tmp_path / "photos")
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    command = ["transfer-cli", "extract", "photos", "-o", "run", "--overwrite", "--seed", "3"]
    return TrainingRequest(folder, run, command=command, progress=Recorder())  # type: ignore[arg-type]


def search(request: TrainingRequest, parts: tuple[str, ...] = PARTS, made_by: str = "digest", grouped: bool = False):
    images = [scene(0), scene(1), scene(2), visited(1, 20), scene(5)]
    rows = [SplitRow(f"{number}.png", str(number), ("ababb"[number],), part) for number, part in enumerate(parts)]
    prints = Fingerprints.of_images(np.stack(images))
    return leaked_rows(request, Split(tuple(rows), 0, made_by), prints, None, grouped).tolist()


def lines(request: TrainingRequest) -> list[str]:
    return request.progress.lines  # type: ignore[attr-defined]


def test_leaked_rows_are_reported_with_a_command_that_groups(request_of: TrainingRequest) -> None:
    assert search(request_of) == [False, False, False, True, False]
    run = request_of.run
    assert lines(request_of) == [
        "data leakage: 1 of 2 test images have a near-duplicate in the training set, so the score is too high: "
        f"1.png = 3.png (listed in {run.leaks})"
    ]
    assert [(row["path_a"], row["path_b"]) for row in read_table(run.leaks, PAIR_COLUMNS)] == [("1.png", "3.png")]
    grouped = f"transfer-cli extract photos --seed 3 --group-by near-duplicates -o {run.path}-grouped"
    assert mending_command(run) == grouped


@pytest.mark.parametrize(("made_by", "grouped"), [("folders", False), ("split.csv", False), ("digest", True)])
def test_leaked_rows_of_a_given_split_get_another_split(
    request_of: TrainingRequest, made_by: str, grouped: bool
) -> None:
    search(request_of, made_by=made_by, grouped=grouped)
    run = request_of.run
    command = f"transfer-cli extract photos --seed 3 --split {run.clean_split} -o {run.path}-without-leaks"
    assert mending_command(run) == command
    assert [row.part for row in Split.read(run.clean_split).rows] == ["train", "train", "train", "train", "test"]


def test_leaked_rows_of_a_whole_test_set_are_distributed_anew(request_of: TrainingRequest) -> None:
    parts = ("train", "train", "train", "test", "train")
    assert search(request_of, parts, "folders") == [False, False, False, True, False]
    run, root = request_of.run, request_of.folder.root
    assert mending_command(run) == (
        f"transfer-cli extract {run.labels} --images {root} --backbone embedded --classifier none "
        f"--group-by near-duplicates -o {run.path}-groups && "
        f"transfer-cli extract photos --seed 3 --split {run.path}-groups/split.csv -o {run.path}-grouped"
    )
    assert [row["class"] for row in read_table(run.labels, ("path", "class"))] == ["a", "b", "a", "b", "b"]
    assert not run.clean_split.exists()


def test_leaked_rows_of_a_class_without_other_test_images_are_distributed_anew(request_of: TrainingRequest) -> None:
    search(request_of, ("test", "train", "val", "test", "val"), "split.csv")  # 3.png is the only test image of class b
    assert "--set split.val=0.15 --backbone embedded" in (mending_command(request_of.run) or "")


def test_leaked_rows_of_a_whole_grouped_test_set_have_no_other_split(request_of: TrainingRequest) -> None:
    search(request_of, ("train", "train", "train", "test", "train"), grouped=True)
    assert mending_command(request_of.run) is None


def test_leaked_rows_without_a_test_set_are_of_val(request_of: TrainingRequest) -> None:
    assert search(request_of, ("train", "train", "train", "val", "val")) == [False, False, False, True, False]
    assert "1 of 2 validation images have a near-duplicate in the training set" in lines(request_of)[0]


def test_leaked_rows_of_ordinary_images_write_nothing(request_of: TrainingRequest) -> None:
    assert not any(search(request_of, ("train", "test", "train", "test", "train")))
    assert (lines(request_of), [*request_of.run.path.iterdir()]) == ([], [])


def test_leaked_rows_of_many_images_says_what_was_compared(
    request_of: TrainingRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "MAX_COMPARED", 2)
    search(request_of)
    assert lines(request_of)[0].startswith("near-duplicates: of 5 images only identical files and images with equal")
