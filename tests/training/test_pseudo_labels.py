"""Pseudo-labels: which unlabelled images are trained on, what stays in the test set, and which messages appear."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import COLOURS, save_image
from tests.finetuning import WORDS, rows_of, run_on
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.errors import FolderError, ImageError, InputError, RecipeError, RunError
from transfer_cli.text import nan_to_null
from transfer_cli.training.finetune import finetune
from transfer_cli.training.pseudo_labels import DUPLICATE, HEADER, teacher_path

pytestmark = pytest.mark.integration

SHORT = ("split.val=0.2", "refit.when=never", "stage.1.epochs=1", "stage.1.unfreeze=head")


class RecordedProgress:
    def __init__(self) -> None:
        from transfer_cli.progress import SILENT

        self.lines: list[str] = []
        self.note = self.warn = self.lines.append
        self.track = SILENT.track


@pytest.fixture(scope="session")
def unlabelled(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 18 new images, a copy of a labelled one, a copy of a new one, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("unlabelled")
    random = np.random.default_rng(1234)
    for number in range(18):
        save_image(folder / f"{number:02}.png", [*COLOURS.values()][number % 3], random)
    shutil.copy(sorted(colours.rglob("*.png"))[0], folder / "seen.png")
    shutil.copy(folder / "00.png", folder / "twice.png")
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


def words(unlabelled: Path, weights: Path, confidence: float = 0.5) -> tuple[str, ...]:
    return (
        *SHORT,
        f"backbone.weights={weights}",
        f"unlabelled.folder={unlabelled}",
        f"unlabelled.confidence={confidence}",
    )


def test_confident_images_are_trained_on(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    progress, run = RecordedProgress(), RunDirectory(tmp_path / "run")
    chosen = words(unlabelled, weights)
    result = run_on(colours, run.path, *chosen, progress=progress)
    first = RunDirectory(teacher_path(run))
    told = rows_of(first.unlabelled)
    assert tuple(told[0]) == HEADER
    assert {Path(row["path"]).name: row["reason"] for row in told if row["reason"]} == {
        "seen.png": DUPLICATE,
        "twice.png": DUPLICATE,
        "broken.png": next(item.reason for item in result.skipped),
    }
    rows = [row for row in told if not row["reason"]]
    assert [Path(row["path"]).name for row in rows] == [f"{number:02}.png" for number in range(18)]
    for row in rows:
        assert row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()
        assert (row["used"] == "yes") == (float(row["confidence"]) >= 0.5)
    used = {row["path"]: row["label"] for row in rows if row["used"] == "yes"}
    assert 0 < len(used) <= 18
    # In the split of the run they are in train; all others are where the teacher had them.
    split = {row["path"]: row for row in rows_of(run.split)}
    assert {path for path in split if Path(path).is_absolute()} == used.keys()
    assert all(split[path]["split"] == "train" and split[path]["class"] == name for path, name in used.items())
    assert {path: row for path, row in split.items() if path not in used} == {
        row["path"]: row for row in rows_of(first.split)
    }
    assert "2 unlabelled images are left out: another image has the same bytes" in progress.lines
    # The gain is the difference of the metrics of both runs.
    metric_values = [json.loads(each.metrics.read_text())["test"]["accuracy"]["value"] for each in (first, run)]
    was, now = metric_values
    assert (
        f"test  accuracy {was:.3f} without unlabelled images, {now:.3f} with {len(used)} of them: {now - was:+.3f}"
        in progress.lines
    )
    assert result.metrics["test"]["accuracy"]["value"] == now
    # The same command again: the run is complete, and there is no message about changes.
    progress = RecordedProgress()
    again = run_on(colours, run.path, *chosen, progress=progress)
    assert again.was_complete
    assert (nan_to_null(again.metrics), again.skipped) == (nan_to_null(result.metrics), result.skipped)
    assert not [line for line in progress.lines if "has changed" in line]


def test_confidence_that_no_image_reaches_raises(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path
) -> None:
    message = r"None of 18 new images .* 0\.9999999; the highest confidence is 0\.9"
    with pytest.raises(InputError, match=message) as caught:
        run_on(colours, tmp_path / "run", *words(unlabelled, weights, 0.9999999))
    assert "unlabelled.confidence=0.8" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run-supervised/metrics.json").is_file()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "does not exist"),
        ("colours", "contains labelled images of"),
        ("empty", "has no image. Expected a folder of unlabelled images"),
        ("raw", r"Received: left out: 2 .nef files \(camera raw; convert them to JPEG\)"),
        ("broken", r"No image in .*broken can be read \(2 files\)\. .* Received, for example, .*1\.jpg: "),
    ],
)
def test_invalid_folder_of_unlabelled_images_raises_before_training(
    colours: Path, weights: Path, tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "raw/below").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    for name in ("raw/1.nef", "raw/below/2.NEF", "broken/1.jpg", "broken/2.png"):
        (tmp_path / name).write_bytes(b"x")
    folder = colours if place == "colours" else tmp_path / place
    with pytest.raises(FolderError, match=message):
        run_on(colours, tmp_path / "run", *words(folder, weights))
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run-supervised").exists()


def test_time_budget_with_unlabelled_images_raises(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path
) -> None:
    recipe = FinetuneRecipe.load(None, words(unlabelled, weights), WORDS)
    with pytest.raises(RecipeError, match="cannot be planned with unlabelled images"):
        finetune(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), time_budget=60.0), recipe)


def test_refit_teacher_moves_val_into_train(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = run_on(colours, run, *words(unlabelled, weights), "refit.when=always")
    assert "val" not in result.metrics
    parts = {row["path"]: row["split"] for row in rows_of(tmp_path / "run-supervised/split.csv")}
    now = {row["path"]: row["split"] for row in rows_of(run / "split.csv")}
    assert {now[path] for path, part in parts.items() if part == "val"} == {"train"}
    assert {path for path, part in now.items() if part == "test"} == {
        path for path, part in parts.items() if part == "test"
    }
    # The labels are those of the refit teacher.
    from transfer_cli import load, predict

    rows = [row for row in rows_of(tmp_path / "run-supervised/unlabelled.csv") if not row["reason"]]
    trained = load(str(tmp_path / "run-supervised"))
    predicted = np.concatenate([batch.probabilities for batch in predict(trained, [row["path"] for row in rows])])
    np.testing.assert_allclose(predicted.max(axis=1), [float(row["confidence"]) for row in rows], atol=1e-6)


@pytest.mark.slow
def test_overwrite_keeps_the_test_set_and_trains_both_runs_again(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run_on(colours, run, *SHORT, f"backbone.weights={weights}", "split.seed=3")
    tested = {row["path"] for row in rows_of(run / "split.csv") if row["split"] == "test"}
    from transfer_cli.training.loop import finalize

    real, calls = finalize.score_parts, []

    def stop(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(*arguments)

    chosen = (*words(unlabelled, weights), "split.seed=3")
    monkeypatch.setattr(finalize, "score_parts", stop)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, run, *chosen, overwrite=True)
    result = run_on(colours, run, *chosen, overwrite=True)
    assert not result.was_complete
    for each in (run, tmp_path / "run-supervised"):
        assert {row["path"] for row in rows_of(each / "split.csv") if row["split"] == "test"} == tested
    # If the teacher has to be trained again, so has the student.
    (tmp_path / "run-supervised/metrics.json").unlink()
    again = run_on(colours, run, *chosen)
    assert not again.was_complete
    # A metric that says nothing is NaN, which equals nothing.
    assert nan_to_null(again.metrics) == nan_to_null(result.metrics)


def test_occupied_run_raises_before_training(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        run_on(colours, tmp_path / "run", *words(unlabelled, weights))
    assert not (tmp_path / "run-supervised").exists()
    with pytest.raises(ImageError, match=r"broken\.png"):
        run_on(colours, tmp_path / "strict", *words(unlabelled, weights), strict=True)


def test_teacher_path_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert teacher_path(RunDirectory(Path())) == tmp_path.with_name(f"{tmp_path.name}-supervised")
    assert teacher_path(RunDirectory(Path("runs/a"))) == Path("runs/a-supervised")
