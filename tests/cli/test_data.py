"""``transfer-cli data``: what is wrong with a folder, and its parts written down."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.browser import chromium, show
from tests.conftest import COLOURS, TINY, TINY_SIZE, TINY_WORDS, Outcome, save_picture
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory
from transfer_cli.audit import check as checking
from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.image_quality import Doubtful, doubtful
from transfer_cli.audit.image_stats import look
from transfer_cli.audit.label_issues import Suspect
from transfer_cli.audit.page import write_page
from transfer_cli.data.decoding import size_of
from transfer_cli.data.export_split import must_be_new
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup import lifecycle

NETWORK = TINY_WORDS[:4]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def messy(colours: Path, tmp_path: Path) -> Path:
    """Return the colours with a broken file, an empty class and one picture in two classes."""
    folder = Path(shutil.copytree(colours, tmp_path / "messy"))
    (folder / "red" / "broken.jpg").write_bytes(b"nothing")
    (folder / "empty").mkdir()
    shutil.copy(folder / "red" / "red 01.png", folder / "blue" / "twice.png")
    return folder


def test_check_of_a_messy_folder(messy: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    done = transfer_cli("--json", "data", "check", messy, *NETWORK)
    assert done.code == 5, done.err
    check = tmp_path / "checks" / "messy"
    assert {path.name for path in check.iterdir()} == {"check.json", "check.html", "suspects.csv", "duplicates.csv"}
    facts = json.loads((check / "check.json").read_text())
    assert [item["path"] for item in facts["unreadable"]] == ["red/broken.jpg"]
    assert facts["classes"] == {"blue": 13, "green": 12, "red": 12}
    assert facts["left_out"] == {"folder without pictures (empty)": 1}
    assert facts["duplicates"]["across_classes"] == 1
    assert facts["few"] == ["blue", "green", "red"]
    assert facts["suspects"] is not None
    assert done.json == {"output": "checks/messy", **facts}
    (pair,) = rows_of(check / "duplicates.csv")
    assert (pair["path_a"], pair["path_b"], pair["kind"]) == ("blue/twice.png", "red/red 01.png", "exact")
    page = (check / "check.html").read_text()
    assert "red/broken.jpg" in page
    assert "data:image/webp" in page
    assert 'src="http' not in page
    for words in ("1 pictures cannot be read", "1 pairs are one picture in two classes", "few pictures to learn from"):
        assert words in done.err


def test_check_of_one_class_without_a_network(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number in range(3):
        save_picture(tmp_path / "one" / "a" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    done = transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there")
    assert done.code == 0, done.err
    assert "there is one class only" in done.err
    assert "labels were not looked at: no network was asked for" in done.err
    # An earlier check is replaced, anything else is not.
    assert transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there").code == 0
    (tmp_path / "there" / "check.json").unlink()
    other = transfer_cli("data", "check", tmp_path / "one", "--no-probe", "-o", "there")
    assert other.code == 3
    assert "holds no check" in other.err
    assert "inside the folder" in transfer_cli("data", "check", "one", "--no-probe", "-o", "one/check").err


def faults_of(paths: list[str], root: Path) -> tuple[Doubtful, ...]:
    return doubtful(look(paths, root), [size_of(root / path) for path in paths])


def test_only_what_is_distorted_unlike_the_others_is_of_an_odd_shape(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    shapes = {"landscape": (602, 400), "film": (640, 360), "panorama": (900, 300), "strip": (200, 500)}
    shapes |= {f"portrait{number}": (300, 400) for number in range(9)}
    for name, shape in shapes.items():
        rough = Image.fromarray(random.integers(40, 200, (8, 8, 3), np.uint8))
        rough.resize(shape, Image.Resampling.NEAREST).save(tmp_path / f"{name}.png")
    paths = sorted(path.name for path in tmp_path.iterdir())
    assert [(item.path, item.fault, item.figure) for item in faults_of(paths, tmp_path)] == [
        (
            "panorama.png",
            "odd shape",
            "900 x 300 pixels, 3.0 times as wide as high; 4.0 times unlike the middle one here",
        ),
        ("strip.png", "odd shape", "200 x 500 pixels, 2.5 times as high as wide; 1.9 times unlike the middle one here"),
    ]
    # In a folder of panoramas none is odd.
    for number in range(9):
        shutil.copy(tmp_path / "panorama.png", tmp_path / f"wide{number}.png")
    wide = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("portrait"))
    assert "panorama.png" not in {item.path for item in faults_of(wide, tmp_path)}


def test_a_picture_whose_size_is_not_known_any_more_has_no_fault_of_it(colours: Path) -> None:
    paths = ["red/red 00.png", "red/red 01.png"]
    assert [item.path for item in doubtful(look(paths, colours), [None, (40, 40)])] == ["red/red 01.png"]


def test_a_second_check_starts_no_tensorflow(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    first, second = (transfer_cli("data", "check", colours, *NETWORK) for _ in "ab")
    assert first.code == second.code == 0, second.err
    assert "on litert" in second.err
    assert "36 of them were known" in second.err
    assert "starting TensorFlow" not in second.err


def test_what_cannot_be_is_said_before_the_work(colours: Path, transfer_cli: Callable[..., Outcome]) -> None:
    missing = transfer_cli("--offline", "data", "check", colours)
    assert missing.code == 4
    assert "--no-probe" in missing.err
    refused = transfer_cli("data", "check", colours, "--no-probe", "-o", "/proc/no/check")
    assert refused.code == 3
    assert "looking at" not in missing.err + refused.err


def test_a_picture_that_is_gone_by_the_second_pass(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    images = ImageFolder.scan(folder)
    looks = look([file.path for file in images.files], folder)
    (folder / "green" / "green 03.png").unlink()
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE})
    request = TrainingRequest(images, RunDirectory(tmp_path / "check"))
    seen, matrix = checking._features(request, lifecycle.resolved(request, recipe, keeps_model=True), looks)
    assert len(matrix) == len(seen.paths) == len(seen.grey) == 35
    assert "green/green 03.png" not in seen.paths


def test_the_page_is_a_grid_over_its_whole_width(colours: Path, tmp_path: Path) -> None:
    images = ImageFolder.scan(colours)
    suspects = tuple(Suspect(file.path, file.labels, ("red",), 0.1, file.path[0] != "g") for file in images.files)
    findings = checking.Findings(images, (), (), Duplicates((), ()), suspects, "")
    assert findings.to_dict()["suspects"] == 36
    assert findings.to_dict()["confident_suspects"] == 24
    page = tmp_path / "check.html"
    write_page(findings, page)
    with chromium(tmp_path / "profile") as browser:
        for width, columns in ((1280, 6), (390, 2)):
            show(browser, page, width)
            lefts, right = browser.execute_script(
                "const all = [...document.querySelectorAll('#suspects .found li')].map(e => e.getBoundingClientRect());"
                "const whole = document.querySelector('#suspects').getBoundingClientRect();"
                "return [all.map(e => e.left), whole.right - Math.max(...all.map(e => e.right))]"
            )
            assert len(lefts) == 24
            assert len(set(lefts)) == columns
            assert lefts == lefts[:columns] * (24 // columns)
            assert abs(right) < 1


def test_faults_of_pictures(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rough = [Image.fromarray(random.integers(40, 200, (8, 8, 3), np.uint8)) for _ in range(30)]
    sharp = [image.resize((200, 200), Image.Resampling.NEAREST) for image in rough]
    planted = {
        "tiny.png": sharp[0].resize((30, 30)),
        "dark.png": Image.eval(sharp[0], lambda value: value // 8),
        "bright.png": Image.eval(sharp[0], lambda value: 215 + value // 5),
        "blurred.png": sharp[0].filter(ImageFilter.GaussianBlur(12)),
        "wide.png": sharp[0].resize((500, 100)),
        "flat.png": Image.new("RGB", (100, 100), (90, 90, 90)),
    }
    for name, image in [*planted.items(), *((f"x{n}.png", image) for n, image in enumerate(sharp))]:
        image.save(tmp_path / name)
    paths = sorted(path.name for path in tmp_path.iterdir())
    found = {(item.path, item.fault) for item in faults_of(paths, tmp_path)}
    wanted = {("tiny.png", "tiny"), ("dark.png", "dark"), ("bright.png", "over-bright"), ("blurred.png", "blurred")}
    assert found >= wanted | {("wide.png", "odd shape"), ("flat.png", "one colour")}
    assert not any(path.startswith("x") for path, _ in found)


def test_a_dark_folder_is_not_dark(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for number in range(9):
        Image.fromarray(random.integers(0, 30, (90, 90, 3), np.uint8)).save(tmp_path / f"{number}.png")
    paths = sorted(path.name for path in tmp_path.iterdir())
    assert faults_of(paths, tmp_path) == ()


def parts_of(folder: ImageFolder) -> dict[str, int]:
    parts = [file.part for file in folder.files]
    return {str(part): parts.count(part) for part in set(parts)}


def test_split_into_folders(messy: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    (messy / "red" / "deeper").mkdir()
    save_picture(messy / "red" / "deeper" / "red 01.png", COLOURS["red"], np.random.default_rng(99))
    done = transfer_cli("--json", "data", "split", messy, "-o", "parted", "--test", "0.3", "--val", "0.2")
    assert done.code == 5, done.err
    assert "left out red/broken.jpg" in done.err
    parted = ImageFolder.scan(tmp_path / "parted")
    assert parts_of(parted) == done.json["parts"]  # type: ignore[index]
    assert parts_of(parted).keys() == {"train", "val", "test"}
    assert len(parted.files) == 38
    contents = sorted(path.read_bytes() for path in (tmp_path / "parted").rglob("*.png"))
    assert contents == sorted(path.read_bytes() for path in messy.rglob("*.png"))
    again = transfer_cli("data", "split", messy, "-o", "parted")
    assert again.code == 3
    assert "is there already" in again.err


def test_a_name_of_another_table_is_no_folder(
    colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    done = transfer_cli("data", "split", colours, "-o", "photos.txt")
    assert done.code == 3
    assert "-o photos.csv, or -o photos" in done.err
    assert not list(tmp_path.glob("photos*"))
    must_be_new(tmp_path / "photos-0.8", ImageFolder.scan(colours))


def test_names_that_clash(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number, name in enumerate(("a/1/x.png", "a/2/x.png", "a/3/X.png", "b/x.png")):
        save_picture(tmp_path / "in" / name, COLOURS["red"], np.random.default_rng(number))
    done = transfer_cli("data", "split", "in", "-o", "out", "--test", "0", "--link")
    assert done.code == 0, done.err
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert names == ["train/a/X-3.png", "train/a/x-2.png", "train/a/x.png", "train/b/x.png"]
    assert (tmp_path / "out/train/b/x.png").samefile(tmp_path / "in/b/x.png")


def test_split_into_a_table_that_extract_takes(
    colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    words = ["--test", "0.3", "--group-by", r"(\d)\.png"]
    done = transfer_cli("data", "split", colours, "-o", "parts.csv", *words)
    assert done.code == 0, done.err
    listed = rows_of(tmp_path / "parts.csv")
    by_digit: dict[str, set[str]] = {}
    for row in listed:
        by_digit.setdefault(row["path"][-5], set()).add(row["part"])
    assert all(len(parts) == 1 for parts in by_digit.values())
    assert {row["part"] for row in listed} == {"train", "test"}
    read = ImageFolder.scan(tmp_path / "parts.csv")
    assert {(tmp_path / file.path).resolve() for file in read.files} == {
        path.resolve() for path in colours.rglob("*.png")
    }
    assert transfer_cli("data", "split", colours, "-o", "parts.csv").code == 3


@pytest.mark.parametrize("label", ["a/b", "..", ".hidden"])
def test_a_class_that_cannot_be_a_folder(label: str, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number in range(4):
        save_picture(tmp_path / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    lines = "".join(f"{number}.png,{label if number % 2 else 'cat'}\n" for number in range(4))
    (tmp_path / "in.csv").write_text("path,label\n" + lines)
    done = transfer_cli("data", "split", "in.csv", "-o", "out", "--test", "0")
    assert done.code == 3
    assert "cannot be the name of a folder" in done.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_several_labels_go_into_a_table(tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    for number in range(6):
        save_picture(tmp_path / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    lines = "".join(f"{number}.png,{'cat;dog' if number % 2 else 'dog'}\n" for number in range(6))
    (tmp_path / "in.csv").write_text("path,labels\n" + lines)
    refused = transfer_cli("data", "split", "in.csv", "-o", "out")
    assert refused.code == 3
    assert "Take: -o out.csv" in refused.err
    done = transfer_cli("data", "split", "in.csv", "-o", "out.csv")
    assert done.code == 0, done.err
    read = ImageFolder.scan(tmp_path / "out.csv")
    assert [file.labels for file in read.files[:2]] == [("dog",), ("cat", "dog")]
