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
    "believable",
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
    assert lines[0] == "the last map, conv_pw_11_relu, has 2 x 2 places"
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
        assert row["believable"] in ("yes", "no")
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
    assert last.startswith(("to be believed: ", "no better than chance: "))
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
    assert "holds holiday.png, which is no explanation" in result.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["holiday.png"]
    for arguments in (["--filters"], [str(image), "--activations", "conv_pw_1_relu"]):
        over = invoke(trained, *arguments, "-o", tmp_path / "mine/holiday.png")
        assert over.exit_code == 3
        assert "would be lost" in over.stderr
        assert invoke(trained, *arguments, "-o", tmp_path / "why.txt").exit_code == 3
    assert (tmp_path / "mine/holiday.png").read_bytes() == image.read_bytes()


def test_explain_wrong_usage_is_error(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    faults = [
        ([image, "--class", "rde"], 2, "There is no class called 'rde'. Did you mean red?"),
        ([image, "--layer", "conv_pw_6_rel"], 2, "Did you mean conv_pw_6_relu?"),
        ([image, "--layer", "conv_pw_6_relu", "--method", "occlusion"], 3, "not at a layer"),
        ([], 2, "Missing argument 'IMAGES...'"),
        ([image, "--filters"], 2, "--filters takes no images"),
        (["--activations", "conv_pw_1_relu"], 2, "--activations LAYER needs exactly one image"),
        (["--filters", "--activations", "conv_pw_1_relu"], 2, "not both"),
        (["--filters", "--class", "red"], 2, "--class cannot be combined with --filters"),
        ([image, "--activations", "avg_features"], 2, "There is no layer with a map called 'avg_features'"),
        ([tmp_path / "broken.jpg", "--activations", "conv_pw_1_relu"], 3, "could not be read"),
        ([tmp_path / "broken.jpg"], 3, "none of the 1 files could be read"),
    ]
    for number, (arguments, code, message) in enumerate(faults):
        output = tmp_path / (
            f"{number}.png" if {"--filters", "--activations"} & set(map(str, arguments)) else str(number)
        )
        result = invoke(trained, *arguments, "-o", output)
        assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
        assert not output.exists()
        assert not result.stdout


def test_explain_filters_draws_first_layer(copy_of_trained: Path) -> None:
    result = invoke(copy_of_trained, "--filters")
    target = copy_of_trained / "plots/filters.png"
    assert (result.exit_code, result.stdout) == (0, f"{target}\n"), result.stderr
    assert "8 filters of the first convolutional layer" in result.stderr
    with Image.open(target) as image:
        sheet = np.asarray(image)
    # Three columns of filters of 3 x 3, 22 pixels each, below their numbers.
    assert sheet.shape == (3 * (66 + 4 + 14), 3 * 70 - 4, 3)
    import keras

    network = keras.saving.load_model(copy_of_trained / "model/backbone.keras", compile=False)
    kernel = np.asarray(network.get_layer("conv1").kernel)
    for number in range(8):
        top, left = number // 3 * 84 + 14, number % 3 * 70
        centres = sheet[top + 11 : top + 66 : 22, left + 11 : left + 66 : 22].astype(float) / 127.5 - 1
        np.testing.assert_allclose(centres, kernel[..., number] / np.abs(kernel[..., number]).max(), atol=0.005)
    assert invoke(copy_of_trained, "--filters").exit_code == 0


def test_explain_activations_draws_maps(copy_of_trained: Path, colours: Path) -> None:
    result = invoke(copy_of_trained, colours / "red/red 01.png", "--activations", "conv_pw_2_relu")
    target = copy_of_trained / "plots/activations-conv_pw_2_relu-red 01.png"
    assert (result.exit_code, result.stdout) == (0, f"{target}\n"), result.stderr
    assert "32 activation maps of conv_pw_2_relu" in result.stderr
    with Image.open(target) as image:
        sheet = np.asarray(image.convert("L"))
    # Six columns of maps of 8 x 8, eight times as large.
    assert sheet.shape == (6 * 82, 6 * 68 - 4)
    brightest = [
        sheet[82 * (n // 6) + 14 : 82 * (n // 6) + 78, 68 * (n % 6) : 68 * (n % 6) + 64].max() for n in range(32)
    ]
    assert brightest[0] == 255
    assert brightest == sorted(brightest, reverse=True)


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
    (message,) = [line for line in result.stderr.splitlines() if "does not see" in line]
    assert message == f"the model does not see {least} here ({100 * batch.probabilities.min():.1f} %): {image}"
    (row,) = [row for row in rows_of(tmp_path / "why") if row["class"] == least]
    assert row["believable"] == "no"
