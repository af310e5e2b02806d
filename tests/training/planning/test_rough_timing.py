"""The timing of a large network: scaled from what was found out about it, and bounded by a clock."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from tests.own_networks import nested, save
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory
from transfer_cli.errors import RecipeError, UnknownNameError
from transfer_cli.models.classifier_network import ClassifierNetwork
from transfer_cli.progress import SILENT
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.planning import rough_timing, smallest_budget
from transfer_cli.training.planning.estimate import Timing
from transfer_cli.training.planning.plan import plan
from transfer_cli.training.planning.timed_step import StageFacts, StepFacts, StepTimer

FACTS = StepFacts((StageFacts(1_000_000, (7, 7, 512), 0.75, 15),), 24, 15_000_000, 5.0, 0.01, 2.0, 0.4, 0.05, {0: 0.3})


def recipe_of(*overrides: str, source: str | None = None) -> FinetuneRecipe:
    return FinetuneRecipe.load(source, [*overrides, "inference.runtime=keras"]).resolved()


def timing_of(facts: StepFacts, *overrides: str) -> Timing:
    return rough_timing.rough_timing(recipe_of("backbone.name=vgg16", *overrides), 5, 320, facts)


def test_times_are_scaled_by_the_share_of_the_layers() -> None:
    (stage,) = timing_of(FACTS).stages
    assert stage.caches_views
    assert stage.frozen_seconds == pytest.approx(0.3)
    assert stage.view_seconds == pytest.approx(0.31)
    assert stage.val_seconds == pytest.approx(0.1)
    # The step of a stage that was timed counts; without it, three forward passes of the layers that train.
    batch = recipe_of("backbone.name=vgg16").step_size
    assert stage.step_seconds == pytest.approx(batch * 0.3 + 0.05)
    (untimed,) = timing_of(replace(FACTS, step_seconds={})).stages
    assert untimed.step_seconds == pytest.approx(batch * 3 * 0.1 + 0.05)
    (fresh,) = timing_of(FACTS, "trunk.views=fresh").stages
    assert fresh.step_seconds == pytest.approx(batch * (0.3 + 0.3 + 0.01) + 0.05)


@pytest.mark.parametrize("name", ["efficientnet_b7", "convnext_xlarge", "vgg16", "lenet5", "embedded"])
def test_without_any_facts_the_catalog_decides(name: str) -> None:
    recipe = recipe_of(f"backbone.name={name}", f"backbone.weights={'none' if name == 'lenet5' else 'imagenet'}")
    timing = rough_timing.rough_timing(recipe, 5, 320, StepFacts())
    assert timing.forward_seconds > 0
    assert timing.stages[0].step_seconds > 0


@pytest.mark.parametrize("batch_norm", ["false", "true"])
def test_parameters_of_a_head_are_counted(batch_norm: str) -> None:
    words = ("head.kind=mlp", "head.units=[6, 4]", f"head.batch_norm={batch_norm}", "stage.1.unfreeze=head")
    recipe = recipe_of("backbone.name=mobilenet@0.25", *words)
    features = keras.Model(images := keras.Input((256,)), keras.layers.Identity()(images))
    variables = ClassifierNetwork(features, recipe.head, 3, 0).head.trainable_variables
    assert rough_timing._head_parameters(recipe, 3) == sum(math.prod(variable.shape) for variable in variables)


@pytest.mark.parametrize(
    ("name", "size", "batches"), [("mobilenet@0.25", 64, 6), ("mobilenet_v2", 224, 1), ("vgg16", 224, 0)]
)
def test_profiled_batches_are_those_that_take_seconds(name: str, size: int, batches: int) -> None:
    recipe = recipe_of(f"backbone.name={name}", f"images.size={size}")
    assert min(rough_timing.profiled_batches(recipe, 6), max(batches, 1)) == batches


def test_timer_is_stopped_by_the_clock() -> None:
    begun = time.monotonic()
    with StepTimer(recipe_of("backbone.name=efficientnet_b7", "backbone.weights=none"), 3) as timer:
        assert timer.facts(begun, SILENT) == StepFacts()
    assert time.monotonic() - begun < 5


def test_plan_without_a_timed_step_says_so(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transfer_cli.training.planning.plan.SECONDS", 0.0)
    lines: list[str] = []

    class Notes:
        track, warn = SILENT.track, lines.append
        note = lines.append

    recipe = FinetuneRecipe.load(None, ["backbone.name=convnext_xlarge", "backbone.weights=none"])
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), progress=Notes())
    planned = plan(request, recipe)
    assert planned.total_seconds > 10
    assert any(line.startswith("no step was timed: building and compiling convnext_xlarge") for line in lines)
    assert not (tmp_path / "run").exists()


def test_budget_that_is_far_too_small_names_one_that_works(colours: Path, tmp_path: Path) -> None:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"), time_budget=1.0)
    recipe = recipe_of("backbone.name=embedded", "images.size=32")
    with pytest.raises(RecipeError, match="A time budget of 1s is too small: even with one epoch per stage") as caught:
        smallest_budget.require_budget(request, recipe)
    assert str(caught.value.hint).startswith("Increase it: --time-budget ")
    smallest_budget.require_budget(replace(request, time_budget=600.0), recipe)
    smallest_budget.require_budget(replace(request, time_budget=None), recipe)


@pytest.mark.integration
def test_timer_finds_out_all_of_a_small_network() -> None:
    recipe = recipe_of("backbone.name=lenet5", "backbone.weights=none", "stage.1.unfreeze=from:conv2")
    with StepTimer(recipe, 3) as timer:
        try:
            facts = timer.facts(time.monotonic() + 120, SILENT)
        except UnknownNameError as error:
            pytest.fail(f"{error} {error.hint}")
    assert facts.stages[0].frozen_shape is not None
    assert facts.layers
    assert facts.forward_seconds
    assert facts.head_seconds
    assert {*facts.step_seconds} == {0}


@pytest.mark.integration
def test_timer_raises_the_error_of_the_recipe(tmp_path: Path) -> None:
    """The layers of a file are not known before it is built."""
    own = save(nested(), tmp_path)
    recipe = recipe_of(f"backbone.name={own}", "backbone.preprocess=inside", "stage.1.unfreeze=from:nosuch")
    with StepTimer(recipe, 3) as timer, pytest.raises(UnknownNameError, match=r"does not fit .*own"):
        timer.facts(time.monotonic() + 120, SILENT)
