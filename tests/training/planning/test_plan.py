"""`--plan`: it predicts what the run does, and writes nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import FINETUNE_WORDS, run_command, save_image
from tests.finetuning import AS_MADE, WORDS, rows_of, run_on
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory
from transfer_cli.errors import WeightsError
from transfer_cli.progress import Silent
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.planning.plan import plan, required_weights
from transfer_cli.training.setup.preflight import Survey, survey

pytestmark = pytest.mark.integration

SHORT = ("split.val=0.2", "stage.1.epochs=2", "batch_size=8")


def plan_of(folder: Path, run: Path, *overrides: str, source: str | None = None, **options: Any) -> Any:
    recipe = FinetuneRecipe.load(source, overrides, WORDS)
    return plan(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe)


def surveyed(folder: Path, run: Path, *overrides: str, source: str | None = None) -> Survey:
    recipe = FinetuneRecipe.load(source, overrides, WORDS).resolved()
    return survey(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run)), recipe, decodes=True)


def tree(*folders: Path) -> dict[str, bytes | None]:
    """Return the bytes of all files below some folders."""
    paths = [path for folder in folders for path in [folder, *folder.rglob("*")]]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


class RecordedProgress(Silent):
    """A progress that records all messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note

    def track(self, description: str, total: int | None) -> Any:
        self.lines.append(f"{description}: {total}")
        return super().track(description, total)


def test_plan_command_matches_the_run_and_writes_nothing(
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
    result: Any = done.json
    real = Counter((row["split"], row["class"]) for row in rows_of(finetuned / "split.csv"))
    counted = {
        (part, name): count for part, classes in result["images_per_class"].items() for name, count in classes.items()
    }
    assert counted == real
    history = rows_of(finetuned / "history.csv")
    trained = Counter(row["stage"] for row in history if row["epoch"] != "0")
    assert {str(number): stage["epochs"] for number, stage in enumerate(result["stages"], start=1)} == trained
    assert [stage["steps"] for stage in result["stages"]] == [1, 1]
    assert [stage["views"] for stage in result["stages"]] == [0, 0]
    assert (result["refit"], result["weights"], result["scratch_bytes"]) == ([], [], 0)
    assert result["classes_with_few_images"] == ["blue", "green", "red"]
    assert result["total_seconds"] == pytest.approx(sum(result["seconds"].values()))
    model = sum(path.stat().st_size for path in (finetuned / "model").iterdir())
    assert result["bundle_bytes"] == pytest.approx(model, rel=0.4)


def test_plan_steps_parameters_views_and_refit_match_the_run(colours: Path, tmp_path: Path) -> None:
    words = (*SHORT, "trunk.views=2", "refit.when=always", "head.start=random", "stage.1.unfreeze=from:conv_dw_13")
    planned = plan_of(colours, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()
    progress = RecordedProgress()
    run_on(colours, tmp_path / "run", *words, progress=progress)
    (stage,), (again,) = planned.stages, planned.refit
    line_of_stage = f"{stage.parameters:,} trainable parameters, {stage.epochs} epochs of {stage.steps} steps"
    assert [line for line in progress.lines if line_of_stage in line]
    train, val = (sum(planned.images_per_class[part].values()) for part in ("train", "val"))
    kept = [line for line in progress.lines if " views of " in line]
    assert [line.split(" through")[0] for line in kept] == [
        f"{stage.views} views of {train} images",
        f"{again.views} views of {train + val} images",
    ]


def test_survey_follows_an_existing_split(colours: Path, finetuned: Path, two_stages: Path) -> None:
    before = tree(finetuned)
    survey_result = surveyed(colours, finetuned, "split.seed=5", *AS_MADE, source=str(two_stages))
    assert tree(finetuned) == before
    real = [(row["path"], row["sha256"], row["split"]) for row in rows_of(finetuned / "split.csv")]
    assert [(row.path, row.sha256, row.part) for row in survey_result.split.rows] == real
    # Without one, another seed gives another split.
    other = surveyed(colours, finetuned.parent / "other", "split.seed=5", *AS_MADE, source=str(two_stages))
    assert [(row.path, row.sha256, row.part) for row in other.split.rows] != real


def test_survey_lists_broken_images(colours: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    random = np.random.default_rng(1)
    for name, colour in (("blue", (30, 40, 200)), ("red", (210, 30, 30))):
        for number in range(6):
            save_image(mine / name / f"{number}.png", colour, random)
    whole = (mine / "red/0.png").read_bytes()
    (mine / "red/0.png").write_bytes(whole[: len(whole) // 2])
    survey_result = surveyed(mine, tmp_path / "run", *SHORT)
    assert [item.path for item in survey_result.skipped] == ["red/0.png"]
    assert Counter(row.truth for row in survey_result.split.rows) == {"blue": 6, "red": 5}


@pytest.mark.parametrize(("name", "megabytes"), [("vgg16", 58.9), ("mobilenet_v3_large", 12.0), ("resnet50", 94.4)])
def test_required_weights_not_downloaded_estimates_the_size(name: str, megabytes: float) -> None:
    recipe = FinetuneRecipe.load(None, [f"backbone.name={name}"]).resolved()
    (file,) = required_weights(recipe)
    assert (file.megabytes, file.is_downloaded) == (megabytes, False)


def test_plan_without_weights_times_random_ones(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    words = (*SHORT, "backbone.weights=imagenet", "images.size=32")
    planned = plan_of(colours, tmp_path / "run", *words, offline=True)
    (file,) = planned.weights
    assert (file.name, file.is_downloaded) == ("mobilenet_2_5_224_tf_no_top.h5", False)
    assert file.megabytes == pytest.approx(0.9, abs=0.1)
    assert not (tmp_path / "keras").exists()
    assert not (tmp_path / "run").exists()
    with pytest.raises(WeightsError):
        run_on(colours, tmp_path / "run", *words, offline=True)


def test_measure_inputs_leaves_the_network_unchanged(colours: Path, tmp_path: Path) -> None:
    """Profiling trains the network; a run in the same process must start from the original weights."""
    from transfer_cli.catalog import backbones
    from transfer_cli.models.backbone import build
    from transfer_cli.training.planning.plan import measure_inputs

    recipe = FinetuneRecipe.load(None, SHORT, WORDS).resolved()
    features = build(backbones.find(recipe.backbone.name), weights="none", size=32, seed=0)
    before = [array.copy() for array in features.get_weights()]
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    measure_inputs(request, recipe, features, survey(request, recipe, decodes=False), ())
    for was, now in zip(before, features.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not features.trainable_weights


def test_plan_command_prints_a_summary(colours: Path, tmp_path: Path) -> None:
    from tests.cli.test_finetune import call

    code, out, err = call("finetune", colours, *FINETUNE_WORDS, "--runtime", "keras", "--plan", "-o", tmp_path / "run")
    assert code == 0, err
    assert out.splitlines()[0].startswith("train: 19 images (blue ")
    for word in ("stage 1: unfreeze last:50%", "time: about", "memory: about", "disk:", "weights: nothing to download"):
        assert word in out
    assert err.splitlines()[-1] == "dry run: nothing was written"
