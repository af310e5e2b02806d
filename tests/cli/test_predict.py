"""``transfer-cli predict`` as users run it."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from PIL import Image

from tests.conftest import Outcome
from tests.data.test_image_batches import broken_files
from transfer_cli import load, predict
from transfer_cli.cli.main import main


def invoke(*arguments: str | Path, **options: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)], **options)  # type: ignore[arg-type]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_predict_writes_rows_in_input_order(trained: Path, colours: Path) -> None:
    paths = [colours / "red/red 03.png", colours / "blue", colours / "red/red 03.png"]
    result = invoke(trained, *paths)
    assert result.exit_code == 0
    rows = rows_of(result.stdout)
    assert list(rows[0]) == ["path", "label", "confidence", "p_blue", "p_green", "p_red"]
    blue = [str(colours / f"blue/blue {number:02}.png") for number in range(12)]
    assert [row["path"] for row in rows] == [str(paths[0]), *blue, str(paths[0])]
    assert rows[0]["label"] == rows[-1]["label"]
    for row in rows:
        probabilities = {name: float(row[f"p_{name}"]) for name in ("blue", "green", "red")}
        assert row["label"] == max(probabilities, key=lambda name: probabilities[name])
        assert float(row["confidence"]) == max(probabilities.values())
    assert result.stderr.splitlines()[-1] == "14 images predicted, 0 skipped"


def test_predict_formats_agree(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    expected = rows_of(invoke(trained, image).stdout)[0]
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        result = invoke(trained, image, "-o", tmp_path / "new" / name)
        assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/new/{name}\n")
    assert rows_of((tmp_path / "new/out.csv").read_text()) == [expected]
    row = json.loads((tmp_path / "new/out.jsonl").read_text())
    assert (row["path"], row["label"]) == (str(image), expected["label"])
    assert pq.read_table(tmp_path / "new/out.parquet").to_pylist()[0]["label"] == expected["label"]
    table = invoke(trained, image, "--format", "table")
    assert table.stdout.startswith(f"{image}  {expected['label']}")
    assert len(table.stdout.split()) == 2 + 6
    best = invoke(trained, image, "--top-k", "2")
    assert list(rows_of(best.stdout)[0]) == ["path", "label", "confidence", "label_2", "confidence_2"]
    as_json = CliRunner().invoke(main, ["--json", "predict", str(trained), str(image)])
    assert json.loads(as_json.stdout)["label"] == expected["label"]


def test_predict_reads_paths_from_stdin(trained: Path, colours: Path) -> None:
    result = invoke(trained, "-", input=f"{colours}/red/red 01.png\n\n{colours}/blue/blue 02.png\r\n")
    names = [Path(row["path"]).name for row in rows_of(result.stdout)]
    assert names == ["red 01.png", "blue 02.png"]


def test_predict_broken_images_keep_rows_in_order(
    trained: Path, colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    """The colour of each image tells its class, so that rows beside a wrong path are detected."""
    good: dict[str, str] = {}
    noise = np.random.default_rng(3)
    for number in range(278):
        name = ("blue", "green", "red")[number % 3]
        source = colours / name / f"{name} {number % 12:02}.png"
        good[str(shutil.copy(source, tmp_path / f"{number}.png"))] = str(source)
    for number, name in enumerate(("red", "blue")):
        colour = {"red": (210, 30, 30), "blue": (30, 40, 200)}[name]
        large = np.clip(np.array(colour) + noise.normal(0, 8, (3024, 3024, 1)), 0, 255).astype(np.uint8)
        Image.fromarray(large).save(tmp_path / f"large{number}.jpg")
        good[str(tmp_path / f"large{number}.jpg")] = str(colours / name / f"{name} 00.png")
    broken = broken_files(tmp_path / "broken")
    assert (len(good), len(broken)) == (280, 20)
    paths = [*good, *broken]
    random.Random(0).shuffle(paths)
    result = transfer_cli("predict", trained, "-", "-o", "predictions.csv", input="\n".join(paths).encode())
    assert result.code == 5
    rows = rows_of((tmp_path / "predictions.csv").read_text())
    assert [row["path"] for row in rows] == [path for path in paths if path in good]
    sources = sorted(set(good.values()))
    model = load(str(trained))
    alone = {path: next(predict(model, [path])) for path in sources}
    for row in rows:
        if "large" in row["path"]:
            assert row["label"] == next(alone[good[row["path"]]].rows(1))[1][0][0]
        else:
            given = [float(row[column]) for column in ("p_blue", "p_green", "p_red")]
            np.testing.assert_allclose(given, alone[good[row["path"]]].probabilities[0], atol=1e-4)
    skipped = [line for line in result.err.splitlines() if line.startswith("warning: skipped ")]
    assert [line.split(": ")[1].removeprefix("skipped ") for line in skipped] == [p for p in paths if p in broken]
    assert all(len(line.split(": ", 2)[2]) > 5 for line in skipped)
    assert result.err.splitlines()[-1] == "280 images predicted, 20 skipped"


def test_predict_no_readable_image_is_error(trained: Path, tmp_path: Path) -> None:
    result = invoke(trained, tmp_path, "-o", tmp_path / "out.csv")
    assert result.exit_code == 3
    assert "No images found. Expected image files, folders of images, or - for paths on stdin." in result.stderr
    assert list(tmp_path.iterdir()) == []
    result = invoke(trained, tmp_path / "typo.jpg")
    assert result.exit_code == 3
    assert "typo.jpg: No such file or directory" in result.stderr


def test_predict_unwritable_output_fails_before_work(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = tmp_path / "own.png"
    shutil.copy(colours / "red/red 03.png", image)
    before = image.read_bytes()
    for arguments, code, message in (
        (["-o", tmp_path, "--format", "csv"], 3, "is a folder. Expected the name of a file."),
        (["-o", "/proc/nowhere/out.csv"], 3, "could not be written"),
        (["-o", tmp_path / "out.ods"], 2, "a name that ends in .csv, .jsonl, .parquet or .xlsx, or add --format."),
        (["-o", image], 2, "Unknown format"),
        (["-o", image, "--format", "csv"], 3, "is an image and would be lost"),
    ):
        result = invoke("no/such/model", image, *arguments)
        assert result.exit_code == code
        assert message in result.stderr
    assert image.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["own.png"]


def test_predict_strict_stops_at_unreadable_image(trained: Path, colours: Path, tmp_path: Path) -> None:
    result = invoke(trained, colours / "red", tmp_path / "missing.jpg", "--strict", "-o", tmp_path / "out.csv")
    assert result.exit_code == 3
    assert "missing.jpg could not be read: No such file or directory" in result.stderr
    assert list(tmp_path.glob("*out*")) == []


def test_predict_copied_bundle_without_run(
    trained: Path, colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    shutil.copytree(trained / "model", tmp_path / "usb stick")
    result = transfer_cli("--offline", "predict", "usb stick", colours / "red")
    assert result.code == 0, result.err
    assert result.out == invoke(trained, colours / "red").stdout


def test_predict_closed_pipe_exits_with_141(trained: Path, colours: Path) -> None:
    command = [sys.executable, "-m", "transfer_cli", "predict", str(trained), "--batch-size", "1", *[str(colours)] * 40]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"path,label")
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_predict_streams_rows(trained: Path, colours: Path) -> None:
    """The first row is written before later paths are known."""
    command = [sys.executable, "-m", "transfer_cli", "--quiet", "predict", str(trained), "-", "--batch-size", "1"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(4):
        process.stdin.write(os.fsencode(f"{colours}/red/red 01.png\n"))
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"path,")
    assert b"red 01.png" in process.stdout.readline()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_predict_missing_model_exits_with_4(trained: Path, tmp_path: Path) -> None:
    result = invoke(tmp_path / "nothing", tmp_path / "x.jpg")
    assert result.exit_code == 4
    assert "There is no run or bundle at" in result.stderr
    result = invoke("imagenet:resnet5", tmp_path / "x.jpg")
    assert result.exit_code == 2
    assert "Did you mean resnet50?" in result.stderr
