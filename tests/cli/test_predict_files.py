"""What ``transfer-cli predict`` reads and writes: lists, packed bundles, films, tables for Excel, some classes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.test_predict import invoke, rows_of
from tests.conftest import COLOURS, save_image
from transfer_cli.cli.main import main


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "colours.zip"
    result = CliRunner().invoke(main, ["bundle", "pack", str(trained), "-o", str(path)])
    assert result.exit_code == 0
    return path


def test_predict_list_in_another_folder(trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copytree(colours / "red", tmp_path / "photos")
    listed = tmp_path / "photos" / "list.csv"
    listed.write_text("file,species\nred 00.png,x\nred 01.png,x\nmissing.png,x\n")
    result = invoke(trained, listed)
    assert result.exit_code == 5
    assert [row["path"] for row in rows_of(result.stdout)] == [f"{tmp_path}/photos/red 0{n}.png" for n in (0, 1)]
    assert result.stderr.startswith(f"{listed}: 3 paths, relative to the folder of the list\n")


def test_predict_text_among_images_is_one_more_file(trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copy(colours / "red/red 00.png", tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("bright weather\n")
    result = invoke(trained, *sorted(tmp_path.iterdir()))
    assert result.exit_code == 5
    assert len(rows_of(result.stdout)) == 1
    assert "warning: skipped" in result.stderr
    alone = invoke(trained, tmp_path / "notes.txt")
    assert (alone.exit_code, alone.stdout) == (3, "")
    assert "the path in it does not exist, such as bright weather." in alone.stderr


def test_predict_film_and_address_fail_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "day.mp4").write_bytes(b"film")
    result = invoke("no/such/model", tmp_path / "day.mp4")
    assert result.exit_code == 3
    assert result.stderr == (
        f"error: {tmp_path}/day.mp4 is a video, not an image. Expected image files or folders of images.\n"
        "Save one frame per second as images first: mkdir -p day-frames && "
        f"ffmpeg -i {tmp_path}/day.mp4 -vf fps=1 day-frames/%06d.jpg\n"
    )
    result = invoke("no/such/model", "https://a.b/c.jpg")
    assert result.exit_code == 3
    assert result.stderr.endswith("Download it first: curl -fLO https://a.b/c.jpg\n")


def test_predict_packed_bundle(packed: Path, trained: Path, colours: Path, tmp_path: Path) -> None:
    assert invoke(packed, colours / "red").stdout == invoke(trained, colours / "red").stdout
    broken = tmp_path / "broken.zip"
    broken.write_bytes(packed.read_bytes()[:5000])
    result = invoke(broken, colours / "red")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "broken.zip could not be read as a zip file" in result.stderr


def test_predict_packed_bundle_leaves_no_folder(
    packed: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "transfer_cli", "--quiet", "predict", packed, colours / "red/red 01.png"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert list(tmp_path.glob("transfer-cli-*")) == []


def test_predict_for_excel(trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.chdir(tmp_path)
    shutil.copy(colours / "red/red 01.png", "=1+1.png")
    result = invoke(trained, "=1+1.png", "--for-excel", "-o", "out.csv")
    assert (result.exit_code, result.stdout) == (0, "out.csv\n")
    text = Path("out.csv").read_bytes().decode()
    assert text.startswith("\ufeffpath;label;confidence;p_blue;p_green;p_red\r\n'=1+1.png;red;0,")
    (row,) = csv.DictReader(text.removeprefix("\ufeff").splitlines(), delimiter=";")
    assert all(len(row[name].partition("e")[0].replace(",", "").lstrip("0")) <= 6 for name in row if "p_" in name)
    assert invoke(trained, "=1+1.png", "--for-excel").stdout_bytes.decode() == text
    for words in (["-o", "out.parquet"], ["--format", "jsonl"]):
        result = invoke(trained, "=1+1.png", "--for-excel", *words)
        assert result.exit_code == 2
        assert "--for-excel writes CSV." in result.stderr


def test_predict_workbook(trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "xlsxwriter", None)
        result = invoke("no/such/model", colours, "-o", tmp_path / "out.xlsx")
        assert result.exit_code == 4
        assert "pip install 'transfer-cli[xlsx]'" in result.stderr
    pytest.importorskip("xlsxwriter")
    result = invoke(trained, colours / "red", "-o", tmp_path / "out.xlsx")
    assert result.exit_code == 0
    assert (tmp_path / "out.xlsx").read_bytes().startswith(b"PK")


def test_predict_some_classes(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    whole, some = (rows_of(invoke(trained, image, *words).stdout)[0] for words in ([], ["--exclude", "red"]))
    total = float(whole["p_blue"]) + float(whole["p_green"])
    assert list(some) == ["path", "label", "confidence", "p_blue", "p_green", "classes_left_out"]
    assert some["classes_left_out"] == "red"
    assert float(some["p_blue"]) == pytest.approx(float(whole["p_blue"]) / total)
    assert some == rows_of(invoke(trained, image, "--only", "blue", "--only", "green").stdout)[0]
    result = CliRunner().invoke(
        main, ["--json", "predict", str(trained), str(image), "--only", "blue,green", "-o", str(tmp_path / "a.jsonl")]
    )
    assert json.loads(result.stdout)["classes_left_out"] == ["red"]
    assert json.loads((tmp_path / "a.jsonl").read_text())["classes_left_out"] == ["red"]
    assert "classes left out: red; probabilities are renormalised over the other 2 classes\n" in result.stderr
    best = invoke(trained, image, "--exclude", "red", "--top-k", "9", "--format", "table")
    assert best.stdout.split("/")[-1].split()[2::2] != []
    assert "red  " not in best.stdout.replace(str(image), "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "bleu"], "There is no class called 'bleu'. Did you mean blue?"),
        (["--exclude", "red,green,blue"], "Expected at least 2 of the 3 classes to be left. Received: none."),
        (["--only", "red", "--exclude", "blue"], "Give --only or --exclude, not both"),
    ],
)
def test_predict_classes_that_do_not_fit(trained: Path, colours: Path, words: list[str], message: str) -> None:
    result = invoke(trained, colours, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_predict_some_classes_with_unknown(trained: Path, colours: Path) -> None:
    result = invoke(trained, colours / "red/red 01.png", "--exclude", "red", "--threshold", "1")
    (row,) = rows_of(result.stdout)
    assert (row["label"], row["reason"]) == ("unknown", "low confidence")
    assert row["guess"] in ("blue", "green")
    assert "1 image predicted, 1 of them labelled `unknown`, 0 skipped" in result.stderr


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_predict_killed_goes_on(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    import numpy as np

    random = np.random.default_rng(0)
    for index in range(260):
        save_image(tmp_path / "many" / f"{index:03}.png", COLOURS["red"], random, side=600 if index > 190 else 40)
    (tmp_path / "many/100.png").write_bytes(b"broken")
    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "transfer_cli", "predict", str(trained), "many", "--batch-size", "8"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [*words, *more]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert run("-o", "unbroken.csv", "--cache-limit", "0").returncode == 5
    assert not list((tmp_path / "cache").glob("predictions/*"))
    process = subprocess.Popen([*words, "-o", "out.csv"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "cache").glob("predictions/*/00000001.part")):
        time.sleep(0.005)
    process.send_signal(number)
    process.wait(timeout=60)
    assert not (tmp_path / "out.csv").exists()
    done = run("-o", "out.csv")
    assert done.returncode == 5
    assert "continuing an interrupted prediction: " in done.stderr
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "unbroken.csv").read_bytes()
    assert not list((tmp_path / "cache").glob("predictions/*"))
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out.csv"]


@pytest.mark.integration
def test_predict_watch_until_it_is_ended(trained: Path, colours: Path, tmp_path: Path) -> None:
    """Ended by SIGKILL and by SIGTERM; each image has one row."""
    (tmp_path / "trap").mkdir()
    command = [sys.executable, "-m", "transfer_cli", "predict", str(trained), "--watch", "trap", "-o", "out.csv"]
    output = tmp_path / "out.csv"

    def watch_until(rows: int, number: signal.Signals) -> tuple[int, str]:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not (output.exists() and output.read_bytes().count(b"\n") == rows + 1):
            time.sleep(0.05)
        process.send_signal(number)
        return process.wait(timeout=60), process.communicate()[1]

    shutil.copy(colours / "red/red 01.png", tmp_path / "trap/a.png")
    watch_until(1, signal.SIGKILL)
    shutil.copy(colours / "red/red 01.png", tmp_path / "trap/copy.png")
    shutil.copy(colours / "blue/blue 01.png", tmp_path / "trap/b.png")
    code, err = watch_until(2, signal.SIGTERM)
    assert code == 143
    assert "watching trap (1 image predicted before); rows are added to out.csv; Ctrl-C ends\n" in err
    assert err.endswith("Interrupted. All rows are in out.csv; run the same command again to continue.\n")
    rows = rows_of(output.read_text())
    assert [(row["path"], row["label"]) for row in rows] == [("trap/a.png", "red"), ("trap/b.png", "blue")]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--watch", "trap"], 2, "--watch needs a file to write: --watch trap -o FILE.csv"),
        (["--watch", "trap", "-o", "a.parquet"], 2, "expected a file that can grow: -o FILE.csv or FILE.jsonl"),
        (["--watch", "trap", "-o", "a.csv", "--for-excel"], 2, "expected a file that can grow"),
        (["--watch", "trap", "-o", "a.csv", "--strict"], 2, "--watch tries it again"),
        (["--watch", "trap", "-o", "a.csv", "a.png"], 2, "Give images or --watch trap, not both"),
        (["--watch", "tarp", "-o", "a.csv"], 3, "There is no folder tarp to watch."),
        ([], 2, "Missing argument 'PATHS...'. Expected images, folders, lists of images, or - for stdin."),
    ],
)
def test_predict_watch_what_does_not_fit(
    words: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap").mkdir()
    monkeypatch.chdir(tmp_path)
    result = invoke("no/such/model", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["trap"]


def test_predict_twice_replaces_the_predictions_but_not_corrected_ones(
    trained: Path, colours: Path, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.csv"
    for _ in range(2):
        assert invoke(trained, colours / "red", "-o", output).exit_code == 0
    written = output.read_text()
    corrected = written.replace("red 03.png,red", "red 03.png,orange")
    assert corrected != written
    output.write_text(corrected)
    result = invoke(trained, colours / "red", "-o", output)
    assert result.exit_code == 3
    assert result.stderr == (
        f"error: {output} has labels that were corrected, and they would be lost: "
        f"{colours}/red/red 03.png is orange, predicted was red.\n"
        "Choose another name with -o, or remove the file.\n"
    )
    assert output.read_text() == corrected


def test_predict_counts_images_per_folder_and_label(trained: Path, colours: Path, tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    for _ in range(2):  # the second time it replaces its own table
        result = invoke(trained, colours, "--counts", counts)
        assert result.exit_code == 0
        assert f"images per folder and label: {counts}\n" in result.stderr
    rows = rows_of(result.stdout)
    expected: dict[tuple[str, str], int] = {}
    for row in rows:
        key = str(Path(row["path"]).parent), row["label"]
        expected[key] = expected.get(key, 0) + 1
    table = rows_of(counts.read_text())
    assert [*table[0]] == ["folder", "label", "images"]
    assert {(row["folder"], row["label"]): int(row["images"]) for row in table} == expected
    assert sum(expected.values()) == 36
    rejected = invoke(trained, colours / "red", "--threshold", "1", "--counts", counts)
    assert rejected.exit_code == 0
    assert counts.read_text() == f"folder,label,images\n{colours}/red,unknown,12\n"


def test_predict_counts_do_not_replace_another_table(trained: Path, colours: Path, tmp_path: Path) -> None:
    other = tmp_path / "stations.csv"
    other.write_text("station,species\n")
    result = invoke(trained, colours / "red", "--counts", other)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "stations.csv is not a table of counts and would be lost." in result.stderr
    both = invoke(trained, colours / "red", "--counts", tmp_path / "a.csv", "-o", tmp_path / "a.csv")
    assert (both.exit_code, "Expected two names." in both.stderr) == (3, True)
    watched = invoke(trained, "--watch", tmp_path, "-o", tmp_path / "b.csv", "--counts", tmp_path / "c.csv")
    assert (watched.exit_code, "--counts needs all images at once" in watched.stderr) == (2, True)


def test_predict_watch_names_the_formats_before_a_missing_package(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    result = invoke(trained, "--watch", tmp_path, "-o", tmp_path / "a.xlsx")
    assert result.exit_code == 2
    assert "expected a file that can grow: -o FILE.csv or FILE.jsonl" in result.stderr


def test_predict_run_by_its_name_in_the_list(
    trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    for name in ("first", "firts"):
        result = invoke(name, colours)
        assert result.exit_code == 4
        assert f"There is no run or bundle at {name}. Did you mean runs/first?" in result.stderr


def test_predict_draws_a_sheet_with_true_labels_of_table_and_folder(
    trained: Path, colours: Path, tmp_path: Path
) -> None:
    sheet, table = tmp_path / "sheet.png", tmp_path / "list.csv"
    paths = [f"{colours}/red/red 0{number}.png" for number in range(3)]
    table.write_text("file,species\n" + "".join(f"{path},blue\n" for path in paths))
    drawings = []
    for source in (table, colours / "red", table):  # it replaces its own sheet
        result = invoke(trained, source, "--sheet", sheet, "--threshold", "0.3")
        assert result.exit_code == 0
        images = 12 if source.is_dir() else 3
        assert result.stderr.splitlines()[-2] == f"contact sheet of {images} images: {sheet}"
        assert len(rows_of(result.stdout)) == images
        drawings.append(sheet.read_bytes())
    assert drawings[0] == drawings[2] != drawings[1]
    piped = invoke(trained, "-", "--sheet", tmp_path / "piped.png", input="\n".join([*paths, "missing.png"]))
    assert (piped.exit_code, len(rows_of(piped.stdout))) == (5, 4)
    assert f"contact sheet of 3 images: {tmp_path}/piped.png\n" in piped.stderr
    # A table of predictions holds no true labels.
    (tmp_path / "p.csv").write_text("path,label,confidence\n" + "".join(f"{path},blue,0.9\n" for path in paths))
    assert invoke(trained, tmp_path / "p.csv", "--sheet", sheet, "--threshold", "0.3").exit_code == 0
    assert sheet.read_bytes() == (tmp_path / "piped.png").read_bytes()


def test_predict_sheet_in_a_wrong_place(trained: Path, colours: Path, tmp_path: Path) -> None:
    inside = invoke(trained, colours, "--sheet", colours / "sheet.png")
    assert (inside.exit_code, inside.stdout) == (3, "")
    assert "and the next command would predict it as an image.\nChoose a place" in inside.stderr
    watched = invoke(trained, "--watch", tmp_path, "-o", tmp_path / "b.csv", "--sheet", tmp_path / "c.png")
    assert (watched.exit_code, "--sheet needs all images at once" in watched.stderr) == (2, True)
    nothing = invoke(trained, "-", "--sheet", tmp_path / "c.png", input="missing.png\n")
    assert (nothing.exit_code, (tmp_path / "c.png").exists()) == (5, False)
