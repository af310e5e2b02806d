"""``transfer-cli predict`` as a person meets it."""

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
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.conftest import Outcome
from tests.data.test_decoding import broken_files
from transfer_cli import load, predict
from transfer_cli.cli.main import main


def invoke(*words: str | Path, **options: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, words)], **options)  # type: ignore[arg-type]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_rows_go_to_stdout_in_input_order(trained: Path, colours: Path) -> None:
    paths = [colours / "red/red 03.png", colours / "blue", colours / "red/red 03.png"]
    done = invoke(trained, *paths)
    assert done.exit_code == 0
    rows = rows_of(done.stdout)
    assert list(rows[0]) == ["path", "label", "confidence", "p_blue", "p_green", "p_red"]
    blue = [str(colours / f"blue/blue {number:02}.png") for number in range(12)]
    assert [row["path"] for row in rows] == [str(paths[0]), *blue, str(paths[0])]
    assert rows[0]["label"] == rows[-1]["label"]
    for row in rows:
        probabilities = {name: float(row[f"p_{name}"]) for name in ("blue", "green", "red")}
        assert row["label"] == max(probabilities, key=lambda name: probabilities[name])
        assert float(row["confidence"]) == max(probabilities.values())
    assert done.stderr.splitlines()[-1] == "14 pictures predicted, 0 skipped"


def test_formats(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 03.png"
    expected = rows_of(invoke(trained, image).stdout)[0]
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        done = invoke(trained, image, "-o", tmp_path / "new" / name)
        assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/new/{name}\n")
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


def test_paths_on_stdin(trained: Path, colours: Path) -> None:
    done = invoke(trained, "-", input=f"{colours}/red/red 01.png\n\n{colours}/blue/blue 02.png\r\n")
    names = [Path(row["path"]).name for row in rows_of(done.stdout)]
    assert names == ["red 01.png", "blue 02.png"]


def test_three_hundred_shuffled_paths_twenty_of_them_broken(
    trained: Path, colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    """Each picture has a class of its own colour: a row beside another's path would show."""
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
    done = transfer_cli("predict", trained, "-", "-o", "predictions.csv", input="\n".join(paths).encode())
    assert done.code == 5
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
    skipped = [line for line in done.err.splitlines() if line.startswith("warning: skipped ")]
    assert [line.split(": ")[1].removeprefix("skipped ") for line in skipped] == [p for p in paths if p in broken]
    assert all(len(line.split(": ", 2)[2]) > 5 for line in skipped)
    assert done.err.splitlines()[-1] == "280 pictures predicted, 20 skipped"


def test_nothing_readable(trained: Path, tmp_path: Path) -> None:
    done = invoke(trained, tmp_path, "-o", tmp_path / "out.csv")
    assert done.exit_code == 3
    assert "There is no picture to be read." in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = invoke(trained, tmp_path / "typo.jpg")
    assert done.exit_code == 3
    assert "typo.jpg: No such file or directory" in done.stderr


def test_places_that_cannot_be_written_are_found_before_any_work(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = tmp_path / "own.png"
    shutil.copy(colours / "red/red 03.png", image)
    before = image.read_bytes()
    for words, code, message in (
        (["-o", tmp_path, "--format", "csv"], 3, "is a folder. Expected the name of a file."),
        (["-o", "/proc/nowhere/out.csv"], 3, "could not be written"),
        (["-o", tmp_path / "out.xlsx"], 2, "does not say its format. Expected .csv, .jsonl or .parquet, or --format."),
        (["-o", image], 2, "does not say its format"),
        (["-o", image, "--format", "csv"], 3, "is a picture"),
    ):
        done = invoke("no/such/model", image, *words)
        assert done.exit_code == code
        assert message in done.stderr
    assert image.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["own.png"]


def test_strict(trained: Path, colours: Path, tmp_path: Path) -> None:
    done = invoke(trained, colours / "red", tmp_path / "missing.jpg", "--strict", "-o", tmp_path / "out.csv")
    assert done.exit_code == 3
    assert "missing.jpg could not be read: No such file or directory" in done.stderr
    assert list(tmp_path.glob("*out*")) == []


def test_a_bundle_predicts_elsewhere_without_the_run(
    trained: Path, colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    shutil.copytree(trained / "model", tmp_path / "usb stick")
    done = transfer_cli("--offline", "predict", "usb stick", colours / "red")
    assert done.code == 0, done.err
    assert done.out == invoke(trained, colours / "red").stdout


def test_a_pipe_that_is_closed_early(trained: Path, colours: Path) -> None:
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


def test_rows_stream(trained: Path, colours: Path) -> None:
    """The first row is there while later paths are not even known."""
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


def test_a_model_that_is_not_there(trained: Path, tmp_path: Path) -> None:
    done = invoke(tmp_path / "nothing", tmp_path / "x.jpg")
    assert done.exit_code == 4
    assert "There is no run and no bundle at" in done.stderr
    done = invoke("imagenet:resnet5", tmp_path / "x.jpg")
    assert done.exit_code == 2
    assert "Did you mean resnet50?" in done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("help", "--help"), ("predit", "predict"), ("evalute", "evaluate")])
def test_a_command_that_is_none_names_the_nearest(typed: str, meant: str, transfer_cli: Callable[..., Outcome]) -> None:
    done = transfer_cli(typed)
    assert done.code == 2
    assert f"No such command '{typed}'. Did you mean {meant}?" in done.err
