"""``transfer-cli explain`` as users run it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.conftest import TINY_WORDS
from transfer_cli import load, predict
from transfer_cli.cli.main import main
from transfer_cli.explain.faithfulness import RANDOM_MAPS

COLUMNS = [
    "path",
    "class",
    "probability",
    "method",
    "deletion",
    "random_deletion",
    "insertion",
    "random_insertion",
    "faithful",
    "file",
]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def rows_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "explanations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_explain_run_writes_maps_into_run(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copy(colours / "red/red 01.png", tmp_path / "red 01.png")
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    paths = [colours / "red/red 01.png", tmp_path / "broken.jpg", colours / "blue/blue 02.png", tmp_path / "red 01.png"]
    result = invoke(copy_of_trained, *paths)
    target = copy_of_trained / "explanations"
    assert (result.exit_code, result.stdout) == (5, f"{target}\n"), result.stderr
    lines = result.stderr.splitlines()
    assert lines[:2] == ["loading the model", "Grad-CAM on layer conv_pw_11_relu (2 x 2 positions)"]
    assert f"warning: skipped {paths[1]}: not an image in a known format" in lines
    rows = rows_of(target)
    assert list(rows[0]) == COLUMNS
    read = [paths[0], *paths[2:]]
    assert [row["path"] for row in rows] == [str(path) for path in read]
    (batch,) = predict(load(str(copy_of_trained)), map(str, read))
    for row, probabilities, path in zip(rows, batch.probabilities, read, strict=True):
        assert row["class"] == batch.class_names[probabilities.argmax()]
        assert np.isclose(float(row["probability"]), probabilities.max(), atol=1e-5)
        assert row["method"] == "grad-cam"
        assert row["faithful"] in ("yes", "no")
        assert all(0 <= float(row[name]) <= 1 for name in COLUMNS[4:8])
        with Image.open(target / row["file"]) as image:
            # The 32-pixel image enlarged seven times, a gap and the overlay; text below.
            assert image.size[0] == 2 * 224 + 4
            shown = np.asarray(image)[:224, :224]
            assert np.abs(shown.reshape(-1, 3).mean(axis=0) - np.asarray(Image.open(path)).mean(axis=(0, 1))).max() < 3
            assert not np.array_equal(shown, np.asarray(image)[:224, 228:])
    assert [row["file"] for row in rows] == [
        f"red 01-{rows[0]['class']}.png",
        f"blue 02-{rows[1]['class']}.png",
        f"red 01-{rows[2]['class']}-2.png",
    ]
    assert {path.name for path in target.iterdir()} == {"explanations.csv", *(row["file"] for row in rows)}
    # Explaining another image replaces the earlier explanations.
    again = invoke(copy_of_trained, colours / "green/green 03.png", "--class", "red", "--class", "blue")
    assert again.exit_code == 0
    assert [(row["class"], row["file"]) for row in rows_of(target)] == [
        ("red", "green 03-red.png"),
        ("blue", "green 03-blue.png"),
    ]
    assert len(list(target.iterdir())) == 3


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_explain_finetuned_run_as_json(method: str, finetuned: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    arguments = [
        "--json",
        "explain",
        str(finetuned / "model"),
        str(image),
        "--method",
        method,
        "-o",
        str(tmp_path / "why"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    (row,) = data["explanations"]
    assert data == {"output": str(tmp_path / "why"), "explanations": [row], "skipped": []}
    assert (row["path"], row["method"], row["file"]) == (str(image), method, f"red 01-{row['class']}.png")
    assert {name: str(value) for name, value in row.items()} == rows_of(tmp_path / "why")[0]
    last = result.stderr.splitlines()[-1]
    assert last.startswith(("faithful: ", "not faithful (no better than random): "))
    assert f": {image}, {row['class']} {100 * row['probability']:.0f} %, " in last
    assert RANDOM_MAPS == 5


def test_explain_knn_uses_occlusion(colours: Path, tmp_path: Path) -> None:
    runtime = ["--runtime", "keras", "--classifier", "knn"]
    made = CliRunner().invoke(
        main, ["extract", str(colours), *TINY_WORDS, *runtime, "-o", str(tmp_path / "neighbours")]
    )
    assert made.exit_code == 0, made.stderr
    image = colours / "red/red 01.png"
    result = invoke(tmp_path / "neighbours", image, "--method", "grad-cam")
    assert result.exit_code == 4
    assert "knn" in result.stderr
    assert "Add --method occlusion" in result.stderr
    chosen = invoke(tmp_path / "neighbours", image)
    assert chosen.exit_code == 0, chosen.stderr
    assert "explained by occlusion" in chosen.stderr
    assert rows_of(tmp_path / "neighbours/explanations")[0]["method"] == "occlusion"


def test_explain_foreign_files_are_kept(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    (tmp_path / "mine").mkdir()
    shutil.copy(image, tmp_path / "mine/holiday.png")
    result = invoke(trained, image, "-o", tmp_path / "mine")
    assert result.exit_code == 3
    assert "holds holiday.png, which is not part of an explanation" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["holiday.png"]
    assert (tmp_path / "mine/holiday.png").read_bytes() == image.read_bytes()


def test_explain_wrong_usage_is_error(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    faults = [
        ([image, "--class", "rde"], 2, "There is no class called 'rde'. Did you mean red?"),
        ([image, "--layer", "conv_pw_6_rel"], 2, "Did you mean conv_pw_6_relu?"),
        ([image, "--layer", "conv_pw_6_relu", "--method", "occlusion"], 3, "occlusion does not use a layer"),
        ([image, "--filters"], 2, "No such option"),
        ([], 2, "Missing argument 'IMAGES...'"),
        ([tmp_path / "broken.jpg"], 3, "no image could be read"),
    ]
    for number, (arguments, code, message) in enumerate(faults):
        output = tmp_path / str(number)
        result = invoke(trained, *arguments, "-o", output)
        assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
        assert not output.exists()
        assert not result.stdout


def test_explain_bundle_in_run_writes_into_run(
    copy_of_trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    image = tmp_path / "line\nfeed.png"
    shutil.copy(colours / "red/red 01.png", image)
    result = invoke(copy_of_trained / "model", image)
    assert result.exit_code == 0, result.stderr
    assert rows_of(copy_of_trained / "explanations")[0]["path"] == str(image)
    assert set(tmp_path.iterdir()) == before | {image}


def test_explain_undetected_class_is_not_faithful(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    (batch,) = predict(load(str(trained)), [str(image)])
    least, most = (batch.class_names[column] for column in np.argsort(batch.probabilities[0])[[0, -1]])
    assert batch.probabilities.min() < 0.99 / 3
    result = invoke(trained, image, "--class", least, "--class", most, "-o", tmp_path / "why")
    assert result.exit_code == 0, result.stderr
    (message,) = [line for line in result.stderr.splitlines() if "does not detect" in line]
    assert message == f"the model does not detect {least} ({100 * batch.probabilities.min():.1f} %): {image}"
    (row,) = [row for row in rows_of(tmp_path / "why") if row["class"] == least]
    assert row["faithful"] == "no"


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_explain_imagenet_network_writes_into_working_directory(
    method: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    monkeypatch.chdir(tmp_path)
    image = next(iter(sorted((shared / "data/clothing/test").rglob("*.jpg"))))
    arguments = [str(image), "--class", "jersey", "--class", "sarong", "--method", method]
    result = CliRunner().invoke(main, ["--offline", "explain", "imagenet:mobilenet@0.25", *arguments])
    assert (result.exit_code, result.stdout) == (0, "explanations\n"), result.stderr
    assert ("Grad-CAM on layer conv_pw_13_relu (7 x 7 positions)" in result.stderr) == (method == "grad-cam")
    rows = rows_of(tmp_path / "explanations")
    assert [(row["class"], row["method"]) for row in rows] == [("jersey", method), ("sarong", method)]
    assert all(0 < float(row["probability"]) < 1 for row in rows)
    assert {path.name for path in tmp_path.iterdir()} == {"explanations"}


def test_explain_network_without_imagenet_weights_is_error(colours: Path, tmp_path: Path) -> None:
    result = invoke("imagenet:lenet5", colours / "red/red 01.png", "-o", tmp_path / "why")
    assert result.exit_code != 0
    assert "lenet5 has no ImageNet weights" in result.stderr
    assert not (tmp_path / "why").exists()


def test_explain_writes_boxes_beside_the_maps(trained: Path, colours: Path, tmp_path: Path) -> None:
    boxes, image = tmp_path / "boxes.json", colours / "red/red 01.png"
    result = invoke(trained, image, "-o", tmp_path / "maps", "--write-boxes", boxes)
    assert result.exit_code == 0, result.stderr
    assert f"1 box (weak localisation, not a detector): {boxes}\n" in result.stderr
    (found,) = json.loads(boxes.read_text())["images"]
    assert (found["file"], len(found["detections"])) == (str(image), 1)
    inside = invoke(trained, image, "-o", tmp_path / "maps", "--write-boxes", tmp_path / "maps/boxes.json")
    assert (inside.exit_code, inside.stdout) == (3, "")
    assert not (tmp_path / "maps/boxes.json").exists()
