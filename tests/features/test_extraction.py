"""Feature extraction of a folder with some cached features."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import COLOURS, TINY, TINY_SIZE, save_image
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.data.image_batches import ImageBatch
from transfer_cli.errors import FolderError, ImageError
from transfer_cli.features import extraction, table
from transfer_cli.inference import compiled_network
from transfer_cli.io.cache import Cache
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.extract import extract

WORDS: dict[str, Any] = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE}


@pytest.fixture
def folder(colours: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(colours, tmp_path / "folder"))


def run_on(folder: Path, run: Path, cache: Path, **words: Any) -> TrainingResult:
    recipe = ExtractRecipe.load(None, [], WORDS | words)
    return extract(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), cache=Cache(cache)), recipe)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Call `act` between the look-up of a batch in the cache and the reading of its features."""
    rows = extraction.FeatureExtractor.rows

    def later(self: extraction.FeatureExtractor, batch: ImageBatch) -> Any:
        act()
        return rows(self, batch)

    monkeypatch.setattr(extraction.FeatureExtractor, "rows", later)


@pytest.mark.integration
def test_extract_features_removed_from_the_cache_are_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_on(folder, tmp_path / "first", tmp_path / "cache").run
    meanwhile(monkeypatch, lambda: Cache(tmp_path / "cache").clear())
    second = run_on(folder, tmp_path / "second", tmp_path / "cache").run
    assert np.array_equal(table.read(second.features), table.read(first.features))


@pytest.mark.integration
@pytest.mark.parametrize("change", ["another image", "no image", "gone"])
def test_extract_image_that_changes_meanwhile_raises(
    change: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(folder, tmp_path / "first", tmp_path / "cache")
    image = folder / "red" / "red 03.png"

    def act() -> None:
        Cache(tmp_path / "cache").clear()
        if change == "another image":
            save_image(image, COLOURS["blue"], np.random.default_rng(2))
        elif change == "no image":
            image.write_bytes(b"nothing")
        else:
            image.unlink(missing_ok=True)

    meanwhile(monkeypatch, act)
    with pytest.raises(ImageError, match=r"red/red 03\.png changed while it was read"):
        run_on(folder, tmp_path / "second", tmp_path / "cache")


def test_extract_unreadable_folder_with_an_unchecked_network_raises(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "folder" / name / f"{number}.jpg").write_bytes(b"nothing")
    with pytest.raises(FolderError, match="could not"):
        run_on(tmp_path / "folder", tmp_path / "run", tmp_path / "cache")


@pytest.mark.integration
def test_extract_single_new_image_checks_the_network_on_more_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(folder, tmp_path / "first", tmp_path / "cache")
    Cache(tmp_path / "cache").clear("networks")
    save_image(folder / "red" / "new.png", COLOURS["red"], np.random.default_rng(2))
    checked = counted(monkeypatch, "check")
    run_on(folder, tmp_path / "second", tmp_path / "cache")
    assert checked == [compiled_network.PARITY_IMAGES]


def test_extract_small_batches_check_the_network_on_more_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = counted(monkeypatch, "check")
    run_on(folder, tmp_path / "run", tmp_path / "cache", batch_size=2)
    assert checked == [compiled_network.PARITY_IMAGES]


def counted(monkeypatch: pytest.MonkeyPatch, method: str) -> list[int]:
    """Return a list that records the number of images in each call of a method."""
    call, seen = getattr(compiled_network.CompiledNetwork, method), []

    def counting(self: compiled_network.CompiledNetwork, images: Any) -> Any:
        seen.append(len(images))
        return call(self, images)

    monkeypatch.setattr(compiled_network.CompiledNetwork, method, counting)
    return seen


@pytest.mark.integration
def test_extract_interrupted_pass_keeps_computed_features(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, done = compiled_network.CompiledNetwork.__call__, []

    def interrupted(self: compiled_network.CompiledNetwork, images: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(len(images))
        return call(self, images)

    monkeypatch.setattr(compiled_network.CompiledNetwork, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(folder, tmp_path / "run", tmp_path / "cache", batch_size=12)
    monkeypatch.undo()
    seen = counted(monkeypatch, "__call__")
    run_on(folder, tmp_path / "run", tmp_path / "cache", batch_size=12)
    assert sum(seen) == 36 - done[0]


@pytest.mark.integration
def test_extract_completed_run_keeps_its_runtime(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More images, or a GPU, do not change the runtime of a run."""
    words = {"classifier.name": "none"}
    first = run_on(folder, tmp_path / "run", tmp_path / "cache", **words)
    assert 'runtime = "keras"' in first.run.recipe.read_text()
    monkeypatch.setattr("transfer_cli.inference.runtimes.MIN_IMAGES_TO_CONVERT", 1)
    assert run_on(folder, tmp_path / "run", tmp_path / "cache", **words).was_complete
    other = run_on(folder, tmp_path / "other", tmp_path / "cache", **words)
    assert 'runtime = "litert"' in other.run.recipe.read_text()
