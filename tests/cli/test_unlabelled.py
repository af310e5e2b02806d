"""A folder of images without classes, as users look at it: extract, map, similar, data check, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.test_predict import rows_of
from tests.conftest import TINY_WORDS
from transfer_cli import FeatureNetwork, FinishedRun, api, similar
from transfer_cli.cli.main import main
from transfer_cli.errors import FolderError, TransferWarning
from transfer_cli.features import table
from transfer_cli.features.similar import SearchImages
from transfer_cli.rendering.palette import class_colours

WORDS = ("--classifier", "none", *TINY_WORDS, "--runtime", "keras")


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def loose(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return four images of each colour in one folder, one of them twice."""
    folder = tmp_path_factory.mktemp("images") / "loose"
    folder.mkdir()
    for path in colours.glob("*/* 0[0-3].png"):
        shutil.copy(path, folder)
    shutil.copy(folder / "red 00.png", folder / "again.png")
    return folder


@pytest.fixture(scope="module")
def run(loose: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run on the images without labels."""
    path = tmp_path_factory.mktemp("runs") / "loose"
    done = invoke("extract", loose, *WORDS, "-o", path)
    assert (done.exit_code, done.stdout) == (0, f"{path}\n"), done.stderr
    assert "13 images without labels. No classes, since" in done.stderr
    assert "split" not in done.stderr
    assert f"next: transfer-cli map {path}\n" in done.stderr
    return path


@pytest.fixture(scope="module")
def labelled(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run without a classifier on images with labels."""
    path = tmp_path_factory.mktemp("runs") / "labelled"
    assert invoke("extract", colours, *WORDS, "-o", path).exit_code == 0
    return path


def test_tables_of_the_run_have_neither_classes_nor_parts(run: Path, loose: Path) -> None:
    assert pq.read_schema(run / "features.parquet").names == ["path", "sha256", "feature"]
    rows = rows_of((run / "split.csv").read_text())
    assert [*rows[0]] == ["path", "sha256"]
    assert [row["path"] for row in rows] == sorted(path.name for path in loose.iterdir())
    assert not (run / "model").exists()


def test_same_command_does_nothing_more(run: Path, loose: Path) -> None:
    before = (run / "features.parquet").stat()
    done = invoke("extract", loose, *WORDS, "-o", run)
    assert done.exit_code == 0
    assert "already complete" in done.stderr
    assert (run / "features.parquet").stat() == before


def test_similar_lists_paths_and_cosines(run: Path, loose: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = invoke("similar", run, loose / "red 00.png", "-k", "2", "--sheet", sheet)
    rows = rows_of(done.stdout)
    assert [*rows[0]] == ["path", "rank", "neighbour", "cosine"]
    assert rows[0]["neighbour"] == "again.png"
    assert float(rows[0]["cosine"]) > 0.9999
    assert "searched 13 images\n" in done.stderr
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 300
    line = json.loads(invoke("--json", "similar", run, loose / "red 00.png", "-k", "1").stdout)
    assert line == {"path": str(loose / "red 00.png"), "rank": 1, "neighbour": "again.png", "cosine": 1.0}


def test_similar_computes_the_features_of_the_run(run: Path, loose: Path) -> None:
    finished = FinishedRun.read(run)
    network = FeatureNetwork.of_run(finished)
    (found,) = similar(network, SearchImages.of_run(finished, "all"), [loose / "blue 03.png"], 3)
    matrix = table.read(run / "features.parquet").astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    paths = [row.path for row in finished.split.rows]
    query = paths.index("blue 03.png")
    for near in found.neighbours[0]:
        assert abs(near.cosine - matrix[query] @ matrix[paths.index(near.row.path)]) < 1e-3


def test_similar_works_on_features_of_labelled_images(labelled: Path, colours: Path) -> None:
    row = rows_of(invoke("similar", labelled, colours / "red/red 00.png", "-k", "1").stdout)[0]
    assert (row["true_label"], row["split"]) == ("red", "train")


def test_map_has_no_colours_of_classes(run: Path, labelled: Path) -> None:
    done = invoke("map", run)
    assert (done.exit_code, done.stdout) == (0, f"{run}/plots/map.png\n"), done.stderr
    rows = rows_of((run / "map.csv").read_text())
    assert ([*rows[0]], len(rows)) == (["path", "x", "y"], 13)
    assert invoke("map", labelled).exit_code == 0

    def colours_in(path: Path) -> set[tuple[int, ...]]:
        with Image.open(path) as drawn:
            return {colour for _, colour in drawn.convert("RGB").getcolors(2**24)}

    first_class = {class_colours(0)[0]}
    assert first_class <= colours_in(labelled / "plots/map.png")
    assert not first_class & colours_in(run / "plots/map.png")
    assert invoke("map", run).exit_code == 0


def test_data_check_finds_duplicates_and_checks_no_labels(loose: Path, tmp_path: Path) -> None:
    done = invoke("--json", "data", "check", loose, *TINY_WORDS[:4], "--no-probe", "-o", tmp_path / "check")
    found = json.loads(done.stdout)
    assert (found["classes"], found["label_issues"], found["images"]) == ({}, None, 13)
    assert found["duplicates"]["exact"] == 1
    text = invoke("data", "check", loose, "--no-probe", "-o", tmp_path / "check").stderr
    assert "duplicates: 1 image in several files\n" in text
    assert "labels were not checked: --no-probe was given\n" in text
    command = f"transfer-cli extract {loose} --classifier none --omit {tmp_path}/check/duplicates.csv"
    assert f"to leave out one image of each duplicate pair: {command}\n" in text
    words = (*TINY_WORDS[:4], "--runtime", "keras")
    probed = invoke("data", "check", loose, *words, "-o", tmp_path / "check").stderr
    assert "labels were not checked: the images have no labels\n" in probed


LABELS = "Its images have no labels. Sort them into one sub-folder per class"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("predict", "{run}", "{loose}"), 4, LABELS),
        (("evaluate", "{run}", "{colours}"), 4, LABELS),
        (("explain", "{run}", "{loose}"), 4, LABELS),
        (("export", "{run}", "--format", "onnx"), 4, LABELS),
        (("report", "{run}"), 3, LABELS),
        (("compare", "{run}", "{labelled}"), 3, LABELS),
        (("leaks", "{run}"), 3, "To find near-duplicates: transfer-cli data check"),
        (("similar", "{run}", "{loose}", "--part", "test"), 3, "Search all of them: --part all"),
        (("extract", "{loose}"), 3, "To look at them without classes: transfer-cli extract {loose} --classifier none"),
        (("extract", "{loose}", "--classifier", "none", "--group-by", "near-duplicates"), 3, "Leave out --group-by"),
        (("extract", "{colours}", "--split", "{run}", "-o", "x"), 3, "expected the columns path and split"),
        (("finetune", "{loose}"), 3, "sort the images into one sub-folder per class"),
    ],
)
def test_what_needs_labels_says_what_to_type(
    words: tuple[str, ...], code: int, message: str, run: Path, loose: Path, colours: Path, labelled: Path
) -> None:
    places = {"run": run, "loose": loose, "colours": colours, "labelled": labelled}
    done = invoke(*(word.format(**places) for word in words))
    assert done.exit_code == code, done.stderr
    assert message.format(**places) in done.stderr


def test_features_of_labelled_images_need_a_classifier(labelled: Path, colours: Path) -> None:
    done = invoke("predict", labelled, colours)
    assert done.exit_code == 4
    assert "Train a classifier: transfer-cli extract FOLDER --classifier logistic\n" in done.stderr


def test_sorted_images_get_a_split_of_their_own(colours: Path, loose: Path, tmp_path: Path) -> None:
    images, run = Path(shutil.copytree(loose, tmp_path / "images")), tmp_path / "run"
    words = ("extract", images, *WORDS, "-o", run)
    assert invoke(*words).exit_code == 0
    for path in [*images.iterdir()]:
        path.unlink()
    shutil.copytree(colours, images, dirs_exist_ok=True)
    assert invoke(*words).exit_code == 3
    assert invoke(*words, "--overwrite").exit_code == 0
    assert {row["split"] for row in rows_of((run / "split.csv").read_text())} == {"train", "test"}


def test_python_refuses_a_classifier_on_images_without_labels(loose: Path, tmp_path: Path) -> None:
    words = {"backbone": "mobilenet@0.25", "weights": "none", "set": {"images.size": 32}, "output": tmp_path / "run"}
    with pytest.warns(TransferWarning, match="random weights"):
        run = api.extract(loose, classifier="none", runtime="keras", **words)
    assert run.metrics == {}
    with pytest.raises(FolderError, match="no class folder"):
        api.extract(loose, **words)
