"""A pass over a folder of which some features are known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import COLOURS, TINY, TINY_SIZE, save_picture
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, extract
from transfer_cli.data.decoding import ImageBatch
from transfer_cli.errors import FolderError, ImageError
from transfer_cli.features import extraction, table
from transfer_cli.inference import compiled_network
from transfer_cli.io.cache import Cache
from transfer_cli.runs.request import TrainingResult

WORDS: dict[str, Any] = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE}


@pytest.fixture
def folder(colours: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(colours, tmp_path / "folder"))


def run_on(folder: Path, run: Path, cache: Path, **words: Any) -> TrainingResult:
    recipe = ExtractRecipe.load(None, [], WORDS | words)
    return extract(ImageFolder.scan(folder), recipe, RunDirectory(run), cache=Cache(cache))


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Let something happen between the look at a batch of known pictures and the reading of their features."""
    rows = extraction.KnownFeatures.rows

    def later(self: extraction.KnownFeatures, batch: ImageBatch) -> Any:
        act()
        return rows(self, batch)

    monkeypatch.setattr(extraction.KnownFeatures, "rows", later)


def test_features_that_are_removed_meanwhile_are_computed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_on(folder, tmp_path / "first", tmp_path / "cache").run
    meanwhile(monkeypatch, lambda: Cache(tmp_path / "cache").clear())
    second = run_on(folder, tmp_path / "second", tmp_path / "cache").run
    assert np.array_equal(table.read(second.features), table.read(first.features))


@pytest.mark.parametrize("change", ["another picture", "no picture", "gone"])
def test_a_picture_that_changes_meanwhile_too(
    change: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(folder, tmp_path / "first", tmp_path / "cache")
    image = folder / "red" / "red 03.png"

    def act() -> None:
        Cache(tmp_path / "cache").clear()
        if change == "another picture":
            save_picture(image, COLOURS["blue"], np.random.default_rng(2))
        elif change == "no picture":
            image.write_bytes(b"nothing")
        else:
            image.unlink(missing_ok=True)

    meanwhile(monkeypatch, act)
    with pytest.raises(ImageError, match=r"red/red 03\.png changed while it was read"):
        run_on(folder, tmp_path / "second", tmp_path / "cache")


def test_a_folder_of_unreadable_files_with_a_new_network(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "folder" / name / f"{number}.jpg").write_bytes(b"nothing")
    with pytest.raises(FolderError, match="could not"):
        run_on(tmp_path / "folder", tmp_path / "run", tmp_path / "cache")


def test_a_network_is_checked_on_more_than_the_one_new_picture(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(folder, tmp_path / "first", tmp_path / "cache")
    Cache(tmp_path / "cache").clear("networks")
    save_picture(folder / "red" / "new.png", COLOURS["red"], np.random.default_rng(2))
    checked = counted(monkeypatch, "check")
    run_on(folder, tmp_path / "second", tmp_path / "cache")
    assert checked == [compiled_network.CHECKED]


def test_small_batches_are_checked_on_more(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = counted(monkeypatch, "check")
    run_on(folder, tmp_path / "run", tmp_path / "cache", batch_size=2)
    assert checked == [compiled_network.CHECKED]


def counted(monkeypatch: pytest.MonkeyPatch, method: str) -> list[int]:
    """Return a list of how many pictures each call of a method will see."""
    call, seen = getattr(compiled_network.CompiledNetwork, method), []

    def counting(self: compiled_network.CompiledNetwork, images: Any) -> Any:
        seen.append(len(images))
        return call(self, images)

    monkeypatch.setattr(compiled_network.CompiledNetwork, method, counting)
    return seen


def test_an_interrupted_pass_keeps_what_it_computed(
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


def test_a_run_goes_on_with_its_own_runtime(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pictures, or a graphics card, do not make another run of it."""
    words = {"classifier.name": "none"}
    first = run_on(folder, tmp_path / "run", tmp_path / "cache", **words)
    assert 'runtime = "keras"' in first.run.recipe.read_text()
    monkeypatch.setattr("transfer_cli.inference.runtimes.WORTH_CONVERTING", 1)
    assert run_on(folder, tmp_path / "run", tmp_path / "cache", **words).was_complete
    other = run_on(folder, tmp_path / "other", tmp_path / "cache", **words)
    assert 'runtime = "litert"' in other.run.recipe.read_text()
