"""`extract` through the Python API, on a tiny real network."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import TINY, TINY_SIZE, save_image
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest, load, predict
from transfer_cli.errors import FolderError, ImageError, RunError, UnknownNameError
from transfer_cli.progress import SILENT
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.extract import extract

WORDS = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE}


def recipe(**words: object) -> ExtractRecipe:
    return ExtractRecipe.load(None, [], WORDS | words)


def run_on(folder: Path, run: Path, **options: object) -> TrainingResult:
    words = options.pop("words", {})
    return extract(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe(**words))  # type: ignore[arg-type]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_extract_writes_all_files_of_a_run(trained: Path, colours: Path) -> None:
    assert sorted(path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()) == [
        "command.txt",
        "confusion_test.csv",
        "confusion_val.csv",
        "curves_test.csv",
        "curves_val.csv",
        "environment.json",
        "events.jsonl",
        "features.parquet",
        "folder.txt",
        "history.csv",
        "metrics.json",
        "model/MODEL_CARD.md",
        "model/backbone.keras",
        "model/bundle.json",
        "model/classifier.skops",
        "model/graph.tflite",
        "model/linear.npz",
        "model/rejection.npz",
        "model/training_images.npz",
        "plots/confusion.png",
        "predictions_test.csv",
        "predictions_val.csv",
        "recipe.toml",
        "skipped.csv",
        "split.csv",
    ]
    assert (trained / "folder.txt").read_text() == f"{colours}\n"
    assert (trained / "skipped.csv").read_text() == "path,reason\n"
    assert ExtractRecipe.load(str(trained / "recipe.toml")) == recipe().resolved().with_settings(
        "inference", runtime="litert"
    )
    assert json.loads((trained / "environment.json").read_text())["device"] == "CPU"
    events = [json.loads(line)["event"] for line in (trained / "events.jsonl").read_text().splitlines()]
    assert [event for event in events if event != "trial"] == ["begin", "features", "end"]


def test_features_table_has_the_rows_of_the_split(trained: Path, colours: Path) -> None:
    table = pq.read_table(trained / "features.parquet")
    assert str(table.schema.field("feature").type) == "fixed_size_list<element: float>[496]"
    split = Split.read(trained / "split.csv")
    columns = table.select(["path", "sha256", "class", "split"]).to_pylist()
    assert columns == [
        {"path": row.path, "sha256": row.sha256, "class": row.truth, "split": row.part} for row in split.rows
    ]
    assert [row["path"] for row in columns] == [file.path for file in ImageFolder.scan(colours).files]


def test_metrics_match_the_predictions_tables(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert list(metrics) == ["val", "test"]
    parts = {row.path: row.part for row in Split.read(trained / "split.csv").rows}
    for part, within in (("val", "train"), ("test", "test")):
        rows = rows_of(trained / f"predictions_{part}.csv")
        assert {row["path"] for row in rows} == {path for path in parts if parts[path] == within}
        right = sum(row["true_label"] == row["label"] for row in rows)
        assert metrics[part]["images"]["value"] == len(rows)
        assert metrics[part]["accuracy"]["value"] == pytest.approx(right / len(rows))
        assert set(metrics[part]["accuracy"]) == {"value", "low", "high"}
    assert metrics["test"]["accuracy"]["value"] >= 0.8


def test_bundle_predicts_the_scored_probabilities(trained: Path, colours: Path) -> None:
    expected = {row["path"]: row for row in rows_of(trained / "predictions_test.csv")}
    model = load(str(trained))
    batches = list(predict(model, [str(colours / path) for path in expected], batch_size=5))
    assert model.class_names == ("blue", "green", "red")
    for batch in batches:
        for path, row in zip(batch.paths, batch.probabilities, strict=True):
            written = expected[str(Path(path).relative_to(colours))]
            np.testing.assert_allclose(row, [float(written[f"p_{name}"]) for name in model.class_names], atol=2e-5)


def test_extract_twice_writes_the_same_bytes(trained: Path, colours: Path, tmp_path: Path) -> None:
    result = run_on(colours, tmp_path / "again")
    for name in ("predictions_val.csv", "predictions_test.csv", "split.csv", "history.csv", "metrics.json"):
        assert (result.run.path / name).read_bytes() == (trained / name).read_bytes()


def test_extract_complete_run_is_not_changed(copy_of_trained: Path, colours: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy_of_trained.rglob("*") if "model" in path.parts}
    result = run_on(colours, copy_of_trained)
    assert result.was_complete
    assert result.metrics == json.loads((copy_of_trained / "metrics.json").read_text())
    assert before == {path: path.stat().st_mtime_ns for path in copy_of_trained.rglob("*") if "model" in path.parts}


def test_extract_other_recipe_in_the_same_run_raises(copy_of_trained: Path, colours: Path) -> None:
    with pytest.raises(RunError, match="--seed is 0 there and 1 here") as caught:
        run_on(colours, copy_of_trained, words={"seed": 1})
    assert "--overwrite" in str(caught.value.hint)
    result = run_on(colours, copy_of_trained, words={"seed": 1}, overwrite=True)
    assert not result.was_complete
    assert ExtractRecipe.load(str(copy_of_trained / "recipe.toml")).seed == 1


def test_extract_unfinished_run_keeps_its_split(copy_of_trained: Path, colours: Path) -> None:
    split = (copy_of_trained / "split.csv").read_text()
    swapped = split.replace(",train", ",TEST").replace(",test", ",train").replace(",TEST", ",test")
    (copy_of_trained / "split.csv").write_text(swapped)
    (copy_of_trained / "metrics.json").unlink()
    (copy_of_trained / ".features.1234abcd.parquet").write_text("draft of a killed process")
    result = run_on(colours, copy_of_trained)
    assert (copy_of_trained / "split.csv").read_text() == swapped
    assert result.metrics["test"]["images"]["value"] == split.count(",train")
    assert not list(copy_of_trained.glob(".*"))


def test_extract_into_a_directory_without_a_run_raises(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        run_on(colours, tmp_path)
    with pytest.raises(RunError, match="is a file"):
        run_on(colours, tmp_path / "mine.txt")
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / ".git").mkdir()
    with pytest.raises(RunError, match="is not empty and holds no run"):
        run_on(colours, tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "mine.txt", "recipe.toml"]


def test_extract_overwrite_that_cannot_start_keeps_the_old_run(copy_of_trained: Path, colours: Path) -> None:
    before = sorted(copy_of_trained.rglob("*"))
    with pytest.raises(UnknownNameError):
        run_on(colours, copy_of_trained, words={"backbone.layer": "typo"}, overwrite=True)
    assert sorted(copy_of_trained.rglob("*")) == before
    (copy_of_trained / "features.parquet").unlink()
    with pytest.raises(RunError, match="holds another run"):
        run_on(colours, copy_of_trained, words={"seed": 1})


def test_extract_added_images_keep_the_split_of_the_others(
    copy_of_trained: Path, colours: Path, tmp_path: Path
) -> None:
    before = {row.path: row.part for row in Split.read(copy_of_trained / "split.csv").rows}
    bigger = Path(shutil.copytree(colours, tmp_path / "colours"))
    for number in range(5):
        save_image(bigger / "red" / f"another {number}.png", (200, 40, 40), np.random.default_rng(number))
    (copy_of_trained / "folder.txt").write_text(f"{bigger}\n")
    messages: list[str] = []

    class Listener(type(SILENT)):  # type: ignore[misc]
        def warn(self, message: str) -> None:
            messages.append(message)

    run_on(bigger, copy_of_trained, progress=Listener())
    assert "5 new images, 0 missing" in messages[0]
    run_on(bigger, copy_of_trained, overwrite=True)
    after = {row.path: row.part for row in Split.read(copy_of_trained / "split.csv").rows}
    assert len(after) == len(before) + 5
    assert before.items() <= after.items()


def test_extract_with_validation_set_predicts_only_that(colours: Path, tmp_path: Path) -> None:
    result = run_on(colours, tmp_path / "run", words={"split.val": 0.3})
    assert result.val_note == ""
    parts = {row.path: row.part for row in Split.read(result.run.split).rows}
    assert {row["path"] for row in rows_of(result.run.predictions("val"))} == {
        path for path, part in parts.items() if part == "val"
    }


def test_extract_without_classifier_writes_features_only(colours: Path, tmp_path: Path) -> None:
    result = run_on(colours, tmp_path / "run", words={"classifier.name": "none", "backbone.pooling": "flatten"})
    assert result.metrics == {}
    assert result.run.features.is_file()
    assert result.run.is_complete(with_model=False, with_features=True)
    assert not result.run.model.exists()


def test_extract_unreadable_images_are_listed_and_not_split(colours: Path, tmp_path: Path) -> None:
    messy = Path(shutil.copytree(colours, tmp_path / "colours"))
    (messy / "red" / "aaa.jpg").write_bytes(b"")
    (messy / "blue" / "zzz.png").write_bytes(b"not an image")
    result = run_on(messy, tmp_path / "run")
    assert rows_of(result.run.skipped) == [
        {"path": "blue/zzz.png", "reason": "not an image in a known format"},
        {"path": "red/aaa.jpg", "reason": "the file is empty"},
    ]
    paths = [row.path for row in Split.read(result.run.split).rows]
    assert len(paths) == 36
    assert "red/aaa.jpg" not in paths
    with pytest.raises(ImageError, match=r"blue/zzz\.png could not be read"):
        run_on(messy, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict/features.parquet").exists()


def test_extract_class_without_readable_image_is_left_out(colours: Path, tmp_path: Path) -> None:
    messy = Path(shutil.copytree(colours, tmp_path / "colours"))
    (messy / "violet").mkdir()
    (messy / "violet" / "x.png").write_bytes(b"?")
    result = run_on(messy, tmp_path / "run")
    assert load(str(result.run.path)).class_names == ("blue", "green", "red")
    for name in ("blue", "green"):
        for image in (messy / name).iterdir():
            image.write_bytes(b"?")
    with pytest.raises(
        FolderError, match=r"Received: readable images of 1; 12 images(.|\n)*blue/blue 00\.png: not an image"
    ):
        run_on(messy, tmp_path / "other")
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == [
        "command.txt",
        "environment.json",
        "events.jsonl",
        "folder.txt",
        "recipe.toml",
    ]


def test_extract_class_with_one_image_is_in_train(colours: Path, tmp_path: Path) -> None:
    small = Path(shutil.copytree(colours, tmp_path / "colours"))
    save_image(small / "white" / "only.png", (240, 240, 240), np.random.default_rng(1))
    result = run_on(small, tmp_path / "run")
    assert {row.part for row in Split.read(result.run.split).rows if row.labels == ("white",)} == {"train"}
    assert load(str(result.run.path)).class_names == ("blue", "green", "red", "white")
    assert "white/only.png" not in {row["path"] for row in rows_of(result.run.predictions("val"))}


def test_extract_follows_a_given_split(colours: Path, tmp_path: Path) -> None:
    files = ImageFolder.scan(colours).files
    chosen = {file.path: "test" if file.path.endswith(("00.png", "01.png")) else "train" for file in files}
    lines = [f"{path},,{path.split('/')[0]},{part}" for path, part in chosen.items()]
    (tmp_path / "mine.csv").write_text("path,sha256,class,split\n" + "\n".join(lines) + "\n")
    result = run_on(colours, tmp_path / "run", split=Split.read(tmp_path / "mine.csv"))
    assert {row.path: row.part for row in Split.read(result.run.split).rows} == chosen
    assert result.metrics["test"]["images"]["value"] == 6
