"""A plan says what a run then does, and writes nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import FINETUNE_WORDS, run_command, save_picture
from tests.finetuning import AS_MADE, WORDS, rows_of, run_on
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory
from transfer_cli.errors import WeightsError
from transfer_cli.progress import Silent
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.planning.plan import plan, weights_needed
from transfer_cli.training.setup.preflight import Survey, survey

SHORT = ("split.val=0.2", "stage.1.epochs=2", "batch_size=8")


def plan_of(folder: Path, run: Path, *overrides: str, source: str | None = None, **options: Any) -> Any:
    recipe = FinetuneRecipe.load(source, overrides, WORDS)
    return plan(ImageFolder.scan(folder), recipe, RunDirectory(run), **options)


def surveyed(folder: Path, run: Path, *overrides: str, source: str | None = None) -> Survey:
    recipe = FinetuneRecipe.load(source, overrides, WORDS).resolved()
    return survey(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run)), recipe, decodes=True)


def tree(*folders: Path) -> dict[str, bytes | None]:
    """Return every file below some folders with its bytes."""
    paths = [path for folder in folders for path in [folder, *folder.rglob("*")]]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


class Heard(Silent):
    """A progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note

    def track(self, description: str, total: int | None) -> Any:
        self.lines.append(f"{description}: {total}")
        return super().track(description, total)


def test_the_plan_of_the_command_is_what_the_run_does(
    finetuned: Path, colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    here = tmp_path / "here"
    here.mkdir()
    before = tree(colours, cache, here)
    words = ["finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, "--plan"]
    done = run_command("--json", *words, cwd=here, env={"TRANSFER_CLI_CACHE": str(cache)})
    assert done.code == 0, done.err
    assert tree(colours, cache, here) == before
    said: Any = done.json
    real = Counter((row["part"], row["class"]) for row in rows_of(finetuned / "split.csv"))
    counted = {(part, name): count for part, classes in said["parts"].items() for name, count in classes.items()}
    assert counted == real
    history = rows_of(finetuned / "history.csv")
    trained = Counter(row["stage"] for row in history if row["epoch"] != "0")
    assert {str(number): stage["epochs"] for number, stage in enumerate(said["stages"], start=1)} == trained
    assert [stage["steps"] for stage in said["stages"]] == [1, 1]
    assert [stage["views"] for stage in said["stages"]] == [0, 0]
    assert (said["refit"], said["weights"], said["scratch_bytes"]) == ([], [], 0)
    assert said["few"] == ["blue", "green", "red"]
    assert said["total_seconds"] == pytest.approx(sum(said["seconds"].values()))
    model = sum(path.stat().st_size for path in (finetuned / "model").iterdir())
    assert said["bundle_bytes"] == pytest.approx(model, rel=0.4)


def test_steps_parameters_views_and_the_refit_are_those_of_the_run(colours: Path, tmp_path: Path) -> None:
    words = (*SHORT, "trunk.views=2", "refit.when=always", "head.start=random", "stage.1.unfreeze=from:conv_dw_13")
    planned = plan_of(colours, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()
    heard = Heard()
    run_on(colours, tmp_path / "run", *words, progress=heard)
    (stage,), (again,) = planned.stages, planned.refit
    learnt = f"{stage.parameters:,} parameters learn, {stage.epochs} epochs of {stage.steps} steps"
    assert [line for line in heard.lines if learnt in line]
    train, val = (sum(planned.parts[part].values()) for part in ("train", "val"))
    kept = [line for line in heard.lines if " views of " in line]
    assert [line.split(" through")[0] for line in kept] == [
        f"{stage.views} views of {train} pictures",
        f"{again.views} views of {train + val} pictures",
    ]


def test_a_split_that_is_there_is_followed(colours: Path, finetuned: Path, two_stages: Path) -> None:
    before = tree(finetuned)
    found = surveyed(colours, finetuned, "split.seed=5", *AS_MADE, source=str(two_stages))
    assert tree(finetuned) == before
    real = [(row["path"], row["sha256"], row["part"]) for row in rows_of(finetuned / "split.csv")]
    assert [(row.path, row.sha256, row.part) for row in found.split.rows] == real
    # The twin: where there is none, another seed parts them otherwise.
    other = surveyed(colours, finetuned.parent / "other", "split.seed=5", *AS_MADE, source=str(two_stages))
    assert [(row.path, row.sha256, row.part) for row in other.split.rows] != real


def test_broken_pictures_are_counted(colours: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    random = np.random.default_rng(1)
    for name, colour in (("blue", (30, 40, 200)), ("red", (210, 30, 30))):
        for number in range(6):
            save_picture(mine / name / f"{number}.png", colour, random)
    whole = (mine / "red/0.png").read_bytes()
    (mine / "red/0.png").write_bytes(whole[: len(whole) // 2])
    found = surveyed(mine, tmp_path / "run", *SHORT)
    assert [item.path for item in found.skipped] == ["red/0.png"]
    assert Counter(row.truth for row in found.split.rows) == {"blue": 6, "red": 5}


@pytest.mark.parametrize(("name", "megabytes"), [("vgg16", 58.9), ("mobilenet_v3_large", 12.0), ("resnet50", 94.4)])
def test_the_size_of_weights_that_are_not_here_is_that_of_the_network_without_its_top(
    name: str, megabytes: float
) -> None:
    recipe = FinetuneRecipe.load(None, [f"backbone.name={name}"]).resolved()
    (file,) = weights_needed(recipe)
    assert (file.megabytes, file.here) == (megabytes, False)


def test_weights_that_are_not_here(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    words = (*SHORT, "backbone.weights=imagenet", "images.size=32")
    planned = plan_of(colours, tmp_path / "run", *words, offline=True)
    (file,) = planned.weights
    assert (file.name, file.here) == ("mobilenet_2_5_224_tf_no_top.h5", False)
    assert file.megabytes == pytest.approx(0.9, abs=0.1)
    assert not (tmp_path / "keras").exists()
    assert not (tmp_path / "run").exists()
    with pytest.raises(WeightsError):
        run_on(colours, tmp_path / "run", *words, offline=True)


def test_the_network_is_left_as_it_was(colours: Path, tmp_path: Path) -> None:
    """What is timed learns; a run that follows in the same process must not begin from there."""
    from transfer_cli.catalog import backbones
    from transfer_cli.models.backbone import build
    from transfer_cli.training.planning.plan import measured

    recipe = FinetuneRecipe.load(None, SHORT, WORDS).resolved()
    features = build(backbones.find(recipe.backbone.name), weights="none", size=32, seed=0)
    before = [array.copy() for array in features.get_weights()]
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    measured(request, recipe, features, survey(request, recipe, decodes=False), ())
    for was, now in zip(before, features.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not features.trainable_weights


def test_the_words_for_a_person(colours: Path, tmp_path: Path) -> None:
    from tests.cli.test_finetune import call

    code, out, err = call("finetune", colours, *FINETUNE_WORDS, "--runtime", "keras", "--plan", "-o", tmp_path / "run")
    assert code == 0, err
    assert out.splitlines()[0].startswith("train 19: blue ")
    for word in ("stage 1: unfreeze last:50%", "time: about", "memory: about", "disk:", "weights: none"):
        assert word in out
    assert err.splitlines()[-1] == "nothing was written"
