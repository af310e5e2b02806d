"""Repeats of a training: the same as each alone, not trained twice, continued after an interruption, replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

from tests.conftest import COLOURS, TINY, TINY_SIZE
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import InputError, OptionError, RunConflictError, RunError, TransferError
from transfer_cli.runs.lock import LOCK_FILE
from transfer_cli.runs.score_limits import mending_command
from transfer_cli.text import shell_command
from transfer_cli.training import repeats as module
from transfer_cli.training.extract import extract
from transfer_cli.training.repeat_results import Repeats
from transfer_cli.training.repeats import repeated

pytestmark = pytest.mark.integration

SETTINGS = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE, "classifier.tune": False}


def recipe_of(**settings: Any) -> ExtractRecipe:
    return ExtractRecipe.load(
        settings={**SETTINGS, **{name.replace("__", "."): each for name, each in settings.items()}}
    )


def repeat(folder: Path, run: Path, count: int = 2, recipe: ExtractRecipe | None = None, **options: Any) -> Repeats:
    request = TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options)
    return repeated(request, recipe or recipe_of(), count)


def times_of(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def two(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repeats with the seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("repeats") / "two"
    repeat(colours, folder)
    return folder


@pytest.fixture
def copy(two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "copy"))


def test_repeat_is_the_training_with_its_seed_alone(two: Path, colours: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in two.iterdir()) == ["command.txt", "repeats.json", "seed-0", "seed-1"]
    recipe = recipe_of(seed=1, split__seed=1)
    extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "alone")), recipe)
    for name in ("recipe.toml", "split.csv", "predictions_test.csv", "predictions_val.csv", "metrics.json"):
        alone = (tmp_path / "alone" / name).read_bytes()
        assert (two / "seed-1" / name).read_bytes() == alone, name
        # The planted fault: a repeat with the seed of the first one.
        assert (two / "seed-0" / name).read_bytes() != alone, name


def test_complete_repeats_are_not_trained_again_and_missing_ones_are(copy: Path, two: Path, colours: Path) -> None:
    before = times_of(copy)
    result = repeat(colours, copy)
    assert result.were_complete
    assert times_of(copy) == before
    shutil.rmtree(copy / "seed-1")
    (copy / "repeats.json").write_bytes((two / "repeats.json").read_bytes())
    again = repeat(colours, copy)
    assert [each.was_complete for each in again.results] == [True, False]
    kept = {path: time for path, time in before.items() if path.parent.name == "seed-0"}
    assert kept.items() <= times_of(copy).items()
    assert (copy / "repeats.json").read_bytes() == (two / "repeats.json").read_bytes()


def test_more_repeats_are_added_and_fewer_are_another_training(copy: Path, colours: Path) -> None:
    before = times_of(copy / "seed-0", copy / "seed-1")
    result = repeat(colours, copy, 3)
    assert [each.was_complete for each in result.results] == [True, True, False]
    assert before.items() <= times_of(copy).items()
    assert json.loads((copy / "repeats.json").read_text())["metrics"]["test"]["accuracy"]["values"] == [
        each.metrics["test"]["accuracy"]["value"] for each in result.results
    ]
    with pytest.raises(RunConflictError, match=r"another training: --repeats is 3 there and 2 here\."):
        repeat(colours, copy, 2)
    with pytest.raises(RunConflictError, match=r"--set classifier.tune is False there and true here|--tune is"):
        repeat(colours, copy, 3, recipe_of(classifier__tune=True))


def interrupted(*arguments: Any) -> Any:
    raise KeyboardInterrupt


def test_interrupted_overwrite_continues_without_overwrite(
    copy: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = times_of(copy / "seed-0", copy / "seed-1")
    knn = recipe_of(classifier__name="knn", seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repeat(colours, copy, 2, knn, overwrite=True)
    written = json.loads((copy / "repeats.json").read_text())
    assert (written["outdated"], "metrics" in written) == (["seed-0"], False)
    first = times_of(copy / "seed-1")
    assert first != {path: time for path, time in old.items() if path in first}
    result = repeat(colours, copy, 2, knn)
    assert [each.was_complete for each in result.results] == [True, False]
    assert times_of(copy / "seed-1") == first
    # The run of the earlier command that has no successor is gone.
    assert sorted(path.name for path in copy.iterdir()) == ["command.txt", "repeats.json", "seed-1", "seed-2"]


def test_overwrite_replaces_all_runs_after_an_interruption(
    copy: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knn = recipe_of(classifier__name="knn")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repeat(colours, copy, 2, knn, overwrite=True)
    assert RunDirectory(copy / "seed-1").read_recipe()["classifier"]["name"] == "lda"
    # The planted fault: without the note that seed-1 is outdated, it would be a run of another recipe.
    spoiled = json.loads((copy / "repeats.json").read_text())
    planted = Path(shutil.copytree(copy, copy.with_name("planted")))
    (planted / "repeats.json").write_text(json.dumps(spoiled | {"outdated": []}))
    with pytest.raises(RunConflictError, match=r"planted holds the repeats of another training: .*classifier"):
        repeat(colours, planted, 2, knn)
    repeat(colours, copy, 2, knn)
    names = [RunDirectory(copy / f"seed-{seed}").read_recipe()["classifier"]["name"] for seed in (0, 1)]
    assert names == ["knn", "knn"]


def parted(colours: Path, target: Path) -> Path:
    """Return the colours in train and test folders."""
    for name in COLOURS:
        for number, path in enumerate(sorted((colours / name).iterdir())):
            place = target / ("test" if number < 3 else "train") / name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return target


def test_parts_of_the_folder_stay_and_the_result_says_what_varied(two: Path, colours: Path, tmp_path: Path) -> None:
    folder = parted(colours, tmp_path / "parted")
    with_val = repeat(folder, tmp_path / "val", recipe=recipe_of(split__val=0.3))
    assert with_val.varied == ("train", "val")
    assert with_val.summary()[0] == (
        "varied: the seed, and which images outside the test set are training and validation images"
    )
    assert "all runs are tested on the same images" in with_val.summary()[1]
    splits = [Split.read(each.run.split) for each in with_val.results]
    assert [{row.path for row in split.rows if row.part == "test"} for split in splits] == [
        {str(path.relative_to(folder)) for path in (folder / "test").rglob("*.png")}
    ] * 2
    without = repeat(folder, tmp_path / "seed")
    assert without.varied == ()
    assert without.summary()[0] == "varied: the seed only; the images of each part are the same in all runs"
    drawn = repeat(colours, two)
    assert drawn.varied == ("train", "test")
    assert drawn.summary() == [
        "varied: the seed, and which images are training and test images",
        "The standard deviation and the range are those of single trainings, and no confidence interval: "
        "the runs share images.",
    ]


def test_locked_folder_raises_and_nothing_is_written(copy: Path, colours: Path) -> None:
    before = times_of(copy)
    with FileLock(copy / LOCK_FILE), pytest.raises(RunError, match="Another process is writing"):
        repeat(colours, copy, 3)
    assert before.items() <= times_of(copy).items()
    assert not (copy / "seed-2").exists()


def test_place_with_other_files_or_inside_the_images_raises(trained: Path, colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RunConflictError, match="is not empty and holds no repeats of a training"):
        repeat(colours, trained)
    with pytest.raises(TransferError, match="is inside the image folder"):
        repeat(colours, colours / "repeats")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "repeats.json").write_text('{"folder": 3}')
    with pytest.raises(RunError, match=r"repeats.json cannot be read: KeyError\('recipe'\)"):
        repeat(colours, damaged)


def split_of(folder: ImageFolder, count: int) -> Split:
    rows = tuple(SplitRow(file.path, "", file.labels, "train") for file in folder.files[:count])
    return Split(rows, 0, "split.csv", SINGLE_LABEL)


def test_options_that_make_no_sense_raise_before_anything_is_written(colours: Path, tmp_path: Path) -> None:
    folder, run = ImageFolder.scan(colours), RunDirectory(tmp_path / "run")

    def check(error: type[TransferError], match: str, recipe: Any = None, count: int = 2, **options: Any) -> None:
        with pytest.raises(error, match=match):
            repeated(TrainingRequest(folder, run, **options), recipe or recipe_of(), count)

    check(InputError, "Expected 2 to 50 repeats. Received: 1", count=1)
    check(InputError, "Expected 2 to 50 repeats. Received: 51", count=51)
    check(InputError, r"Expected seeds below 2\^32", recipe_of(seed=2**32 - 1))
    check(OptionError, "needs a classifier", recipe_of(classifier__name="none"))
    check(OptionError, "seed = 0 and split.seed = 3", recipe_of(split__seed=3))
    check(OptionError, "limit for one model", min_accuracy=0.5)
    check(OptionError, "other epochs are no repeats", FinetuneRecipe.load(settings={}), time_budget=60.0)
    check(OptionError, "gives the part of every image", split=split_of(folder, 36))
    # A split that leaves an image to chance is followed.
    module._check_request(TrainingRequest(folder, run, split=split_of(folder, 35)))
    module._check_recipe(recipe_of(seed=3, split__seed=3), 2)
    assert not run.path.exists()


def test_near_duplicates_are_mended_for_all_repeats_or_for_one(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "copies"))
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            image.resize((44, 44)).save(path.with_name(f"copy of {path.name}"))
    typed = ["transfer-cli", "extract", str(folder), "--repeats", "2", "-o", "r"]
    repeat(folder, tmp_path / "drawn", command=typed)
    assert mending_command(RunDirectory(tmp_path / "drawn/seed-1")) == shell_command(
        *typed[:5], "--group-by", "near-duplicates", "-o", f"{tmp_path}/drawn-grouped"
    )
    # Where the folder decides the parts, a split without leaks leaves nothing to repeat.
    repeat(parted(folder, tmp_path / "parted"), tmp_path / "given", command=typed)
    command = mending_command(RunDirectory(tmp_path / "given/seed-1"))
    assert command is not None
    assert "--repeats" not in command
    assert f"{tmp_path}/given/seed-1" in command
