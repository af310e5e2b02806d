"""``transfer-cli data check`` and ``data split`` as users run them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import COLOURS, TINY_WORDS, Outcome, save_image
from transfer_cli import ImageFolder
from transfer_cli.data.export_split import check_target

NETWORK = TINY_WORDS[:4]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def messy(colours: Path, tmp_path: Path) -> Path:
    """Return the colours with a broken file, an empty class and one image in two classes."""
    folder = Path(shutil.copytree(colours, tmp_path / "messy"))
    (folder / "red" / "broken.jpg").write_bytes(b"nothing")
    (folder / "empty").mkdir()
    shutil.copy(folder / "red" / "red 01.png", folder / "blue" / "twice.png")
    return folder


@pytest.mark.integration
def test_check_messy_folder_reports_all_problems(
    messy: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    result = transfer_cli("--json", "data", "check", messy, *NETWORK)
    assert result.code == 5, result.err
    check = tmp_path / "checks" / "messy"
    assert {path.name for path in check.iterdir()} == {"check.json", "check.html", "suspects.csv", "duplicates.csv"}
    data = json.loads((check / "check.json").read_text())
    assert [item["path"] for item in data["unreadable"]] == ["red/broken.jpg"]
    assert data["classes"] == {"blue": 13, "green": 12, "red": 12}
    assert data["left_out"] == {"folder without images (empty)": 1}
    assert data["duplicates"]["across_classes"] == 1
    assert data["small_classes"] == ["blue", "green", "red"]
    assert data["label_issues"] is not None
    assert result.json == {"output": "checks/messy", **data}
    (pair,) = rows_of(check / "duplicates.csv")
    assert (pair["path_a"], pair["path_b"], pair["kind"]) == ("blue/twice.png", "red/red 01.png", "exact")
    page = (check / "check.html").read_text()
    assert "red/broken.jpg" in page
    assert "data:image/webp" in page
    assert 'src="http' not in page
    for message in (
        "1 image cannot be read",
        "1 duplicate pair with different labels",
        "classes with fewer than 20 images: blue 13, green 12, red 12",
    ):
        assert message in result.err


@pytest.mark.integration
def test_check_one_class_without_network(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number in range(3):
        save_image(tmp_path / "one" / "a" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    result = transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there")
    assert result.code == 0, result.err
    assert "only one class" in result.err
    assert "labels were not checked: --no-probe was given" in result.err
    # An earlier check may be replaced, other files may not.
    assert transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there").code == 0
    (tmp_path / "there" / "check.json").unlink()
    other = transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there")
    assert other.code == 3
    assert "is not the output of an earlier check" in other.err
    assert "inside the image folder" in transfer_cli("data", "check", "one", "--no-probe", "-o", "one/check").err


@pytest.mark.integration
def test_check_second_time_starts_no_tensorflow(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    first, second = (transfer_cli("data", "check", colours, *NETWORK) for _ in "ab")
    assert first.code == second.code == 0, second.err
    assert "on litert" in second.err
    assert "36 loaded from the feature cache" in second.err
    assert "starting TensorFlow" not in second.err


def test_check_wrong_input_fails_before_work(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    missing = transfer_cli("--offline", "data", "check", colours)
    assert missing.code == 4
    assert "--no-probe" in missing.err
    refused = transfer_cli("data", "check", colours, "--no-probe", "-o", "/proc/no/check")
    assert refused.code == 3
    assert "measuring the images" not in missing.err + refused.err


def parts_of(folder: ImageFolder) -> dict[str, int]:
    parts = [file.part for file in folder.files]
    return {str(part): parts.count(part) for part in set(parts)}


def test_split_to_folders_copies_every_readable_image(
    messy: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    (messy / "red" / "deeper").mkdir()
    save_image(messy / "red" / "deeper" / "red 01.png", COLOURS["red"], np.random.default_rng(99))
    result = transfer_cli("--json", "data", "split", messy, "-o", "split", "--test", "0.3", "--val", "0.2")
    assert result.code == 5, result.err
    assert "skipped red/broken.jpg" in result.err
    written = ImageFolder.scan(tmp_path / "split")
    assert parts_of(written) == result.json["split"]  # type: ignore[index]
    assert parts_of(written).keys() == {"train", "val", "test"}
    assert len(written.files) == 38
    contents = sorted(path.read_bytes() for path in (tmp_path / "split").rglob("*.png"))
    assert contents == sorted(path.read_bytes() for path in messy.rglob("*.png"))
    again = transfer_cli("data", "split", messy, "-o", "split")
    assert again.code == 3
    assert "already exists" in again.err


def test_split_to_other_suffix_is_error(colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    result = transfer_cli("data", "split", colours, "-o", "photos.txt")
    assert result.code == 3
    assert "-o photos.csv or -o photos" in result.err
    assert not list(tmp_path.glob("photos*"))
    check_target(tmp_path / "photos-0.8", ImageFolder.scan(colours))


def test_split_clashing_names_are_numbered(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number, name in enumerate(("a/1/x.png", "a/2/x.png", "a/3/X.png", "b/x.png")):
        save_image(tmp_path / "in" / name, COLOURS["red"], np.random.default_rng(number))
    result = transfer_cli("data", "split", "in", "-o", "out", "--test", "0", "--link")
    assert result.code == 0, result.err
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert names == ["train/a/X-3.png", "train/a/x-2.png", "train/a/x.png", "train/b/x.png"]
    assert (tmp_path / "out/train/b/x.png").samefile(tmp_path / "in/b/x.png")


def test_split_to_csv_is_read_back_with_groups_intact(
    colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    arguments = ["--test", "0.3", "--group-by", r"(\d)\.png"]
    result = transfer_cli("data", "split", colours, "-o", "parts.csv", *arguments)
    assert result.code == 0, result.err
    listed = rows_of(tmp_path / "parts.csv")
    by_digit: dict[str, set[str]] = {}
    for row in listed:
        by_digit.setdefault(row["path"][-5], set()).add(row["split"])
    assert all(len(parts) == 1 for parts in by_digit.values())
    assert {row["split"] for row in listed} == {"train", "test"}
    read = ImageFolder.scan(tmp_path / "parts.csv")
    assert {(tmp_path / file.path).resolve() for file in read.files} == {
        path.resolve() for path in colours.rglob("*.png")
    }
    assert transfer_cli("data", "split", colours, "-o", "parts.csv").code == 3


@pytest.mark.parametrize("label", ["a/b", "..", ".hidden"])
def test_split_class_not_a_folder_name_is_error(
    label: str, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    for number in range(4):
        save_image(tmp_path / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    lines = "".join(f"{number}.png,{label if number % 2 else 'cat'}\n" for number in range(4))
    (tmp_path / "in.csv").write_text("path,label\n" + lines)
    result = transfer_cli("data", "split", "in.csv", "-o", "out", "--test", "0")
    assert result.code == 3
    assert "cannot be the name of a folder" in result.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_split_multi_label_needs_csv(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number in range(6):
        save_image(tmp_path / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    lines = "".join(f"{number}.png,{'cat;dog' if number % 2 else 'dog'}\n" for number in range(6))
    (tmp_path / "in.csv").write_text("path,labels\n" + lines)
    refused = transfer_cli("data", "split", "in.csv", "-o", "out")
    assert refused.code == 3
    assert "Use -o out.csv" in refused.err
    result = transfer_cli("data", "split", "in.csv", "-o", "out.csv")
    assert result.code == 0, result.err
    read = ImageFolder.scan(tmp_path / "out.csv")
    assert [file.labels for file in read.files[:2]] == [("dog",), ("cat", "dog")]
