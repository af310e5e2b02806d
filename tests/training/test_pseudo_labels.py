"""Unlabelled pictures: which are learnt from, what is kept apart, and what a person is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import COLOURS, save_picture
from tests.finetuning import WORDS, rows_of, run_on
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, finetune
from transfer_cli.errors import FolderError, ImageError, InputError, RecipeError, RunError
from transfer_cli.training.pseudo_labels import HEADER, KNOWN, beside

SHORT = ("split.val=0.2", "refit.when=never", "stage.1.epochs=1", "stage.1.unfreeze=head")


class Heard:
    def __init__(self) -> None:
        from transfer_cli.progress import SILENT

        self.lines: list[str] = []
        self.note = self.warn = self.lines.append
        self.track = SILENT.track


@pytest.fixture(scope="session")
def unlabelled(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 18 new pictures, a copy of a labelled one, a copy of a new one, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("unlabelled")
    random = np.random.default_rng(1234)
    for number in range(18):
        save_picture(folder / f"{number:02}.png", [*COLOURS.values()][number % 3], random)
    shutil.copy(sorted(colours.rglob("*.png"))[0], folder / "seen.png")
    shutil.copy(folder / "00.png", folder / "twice.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def words(unlabelled: Path, weights: Path, confidence: float = 0.5) -> tuple[str, ...]:
    return (
        *SHORT,
        f"backbone.weights={weights}",
        f"unlabelled.folder={unlabelled}",
        f"unlabelled.confidence={confidence}",
    )


def test_sure_pictures_are_learnt_from(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    heard, run = Heard(), RunDirectory(tmp_path / "run")
    chosen = words(unlabelled, weights)
    result = run_on(colours, run.path, *chosen, progress=heard)
    first = RunDirectory(beside(run))
    told = rows_of(first.unlabelled)
    assert tuple(told[0]) == HEADER
    assert {Path(row["path"]).name: row["reason"] for row in told if row["reason"]} == {
        "seen.png": KNOWN,
        "twice.png": KNOWN,
        "broken.png": next(item.reason for item in result.skipped),
    }
    rows = [row for row in told if not row["reason"]]
    assert [Path(row["path"]).name for row in rows] == [f"{number:02}.png" for number in range(18)]
    for row in rows:
        assert row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()
        assert (row["learnt"] == "yes") == (float(row["confidence"]) >= 0.5)
    learnt = {row["path"]: row["class"] for row in rows if row["learnt"] == "yes"}
    assert 0 < len(learnt) <= 18
    # In the split of the run they are train; all others are where they were without them.
    split = {row["path"]: row for row in rows_of(run.split)}
    assert {path for path in split if Path(path).is_absolute()} == learnt.keys()
    assert all(split[path]["part"] == "train" and split[path]["class"] == name for path, name in learnt.items())
    assert {path: row for path, row in split.items() if path not in learnt} == {
        row["path"]: row for row in rows_of(first.split)
    }
    assert "2 unlabelled pictures are left out: the same bytes have been seen before" in heard.lines
    # The gain is that of the figures of both runs.
    figures = [json.loads(each.metrics.read_text())["test"]["accuracy"]["value"] for each in (first, run)]
    was, now = figures
    assert (
        f"test  accuracy {was:.3f} without unlabelled pictures, {now:.3f} with {len(learnt)} of them: {now - was:+.3f}"
        in heard.lines
    )
    assert result.metrics["test"]["accuracy"]["value"] == now
    # Once more: it is complete, and nothing is said to have changed.
    heard = Heard()
    again = run_on(colours, run.path, *chosen, progress=heard)
    assert again.was_complete
    assert (again.metrics, again.skipped) == (result.metrics, result.skipped)
    assert not [line for line in heard.lines if "has changed" in line]


def test_a_bar_that_none_passes_is_said(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    said = r"Of 18 new pictures none .* 0\.9999999; the highest is 0\.9"
    with pytest.raises(InputError, match=said) as caught:
        run_on(colours, tmp_path / "run", *words(unlabelled, weights, 0.9999999))
    assert "unlabelled.confidence=0.8" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run-supervised/metrics.json").is_file()


@pytest.mark.parametrize(
    ("place", "said"), [("nowhere", "There is no folder"), ("colours", "holds pictures of .* that have a class")]
)
def test_folders_that_cannot_be(colours: Path, weights: Path, tmp_path: Path, place: str, said: str) -> None:
    folder = colours if place == "colours" else tmp_path / place
    with pytest.raises(FolderError, match=said):
        run_on(colours, tmp_path / "run", *words(folder, weights))
    assert not (tmp_path / "run").exists()


def test_no_time_budget(colours: Path, unlabelled: Path, weights: Path, tmp_path: Path) -> None:
    recipe = FinetuneRecipe.load(None, words(unlabelled, weights), WORDS)
    with pytest.raises(RecipeError, match="does not know of unlabelled pictures"):
        finetune(ImageFolder.scan(colours), recipe, RunDirectory(tmp_path / "run"), time_budget=60.0)


def test_where_val_was_learnt_from_nothing_is_compared_on_it(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = run_on(colours, run, *words(unlabelled, weights), "refit.when=always")
    assert "val" not in result.metrics
    parts = {row["path"]: row["part"] for row in rows_of(tmp_path / "run-supervised/split.csv")}
    now = {row["path"]: row["part"] for row in rows_of(run / "split.csv")}
    assert {now[path] for path, part in parts.items() if part == "val"} == {"train"}
    assert {path for path, part in now.items() if part == "test"} == {
        path for path, part in parts.items() if part == "test"
    }
    # The labels are those of the network that predicts, which has learnt from val, too.
    from transfer_cli import load, predict

    rows = [row for row in rows_of(tmp_path / "run-supervised/unlabelled.csv") if not row["reason"]]
    trained = load(str(tmp_path / "run-supervised"))
    said = np.concatenate([batch.probabilities for batch in predict(trained, [row["path"] for row in rows])])
    np.testing.assert_allclose(said.max(axis=1), [float(row["confidence"]) for row in rows], atol=1e-6)


@pytest.mark.slow
def test_an_earlier_run_keeps_its_test_pictures_and_is_not_taken_for_the_new_one(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run_on(colours, run, *SHORT, f"backbone.weights={weights}", "split.seed=3")
    tested = {row["path"] for row in rows_of(run / "split.csv") if row["part"] == "test"}
    from transfer_cli.training.loop.finalize import RunFinalizer

    real, calls = RunFinalizer.score, []

    def stop(self: RunFinalizer) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(self)

    chosen = (*words(unlabelled, weights), "split.seed=3")
    monkeypatch.setattr(RunFinalizer, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, run, *chosen, overwrite=True)
    result = run_on(colours, run, *chosen, overwrite=True)
    assert not result.was_complete
    for each in (run, tmp_path / "run-supervised"):
        assert {row["path"] for row in rows_of(each / "split.csv") if row["part"] == "test"} == tested
    # A first run that has to be made again makes the second one anew, too.
    (tmp_path / "run-supervised/metrics.json").unlink()
    again = run_on(colours, run, *chosen)
    assert not again.was_complete
    assert again.metrics == result.metrics


def test_a_place_that_is_taken_is_said_before_anything_is_trained(
    colours: Path, unlabelled: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        run_on(colours, tmp_path / "run", *words(unlabelled, weights))
    assert not (tmp_path / "run-supervised").exists()
    with pytest.raises(ImageError, match=r"broken\.png"):
        run_on(colours, tmp_path / "strict", *words(unlabelled, weights), strict=True)


def test_a_run_in_the_folder_where_one_is_has_a_place_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert beside(RunDirectory(Path())) == tmp_path.with_name(f"{tmp_path.name}-supervised")
    assert beside(RunDirectory(Path("runs/a"))) == Path("runs/a-supervised")
