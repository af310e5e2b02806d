"""A time budget that is far too small is refused before TensorFlow starts, by a rough estimate of the shortest run."""

from __future__ import annotations

import math

from transfer_cli.errors import RecipeError
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted, format_duration
from transfer_cli.training.planning import rough_timing
from transfer_cli.training.planning.estimate import PlanInputs, estimate_plan
from transfer_cli.training.planning.time_budget import SHARE, with_epochs
from transfer_cli.training.planning.timed_step import StepFacts
from transfer_cli.training.setup.preflight import survey

_DOUBT = 3.0
"""The estimate may be wrong by this factor; what it does not exclude is decided by timing."""
_STEP = 5
"""Suggested budgets are multiples of this number of seconds."""


def require_budget(request: TrainingRequest, recipe: FinetuneRecipe) -> None:
    """Raise RecipeError if one epoch per stage of a resolved recipe takes far longer than the time budget."""
    if request.time_budget is None:
        return
    surveyed = survey(request.silent(), recipe, decodes=False)
    split, facts = surveyed.split, StepFacts()
    timing = rough_timing.rough_timing(recipe, len(split.class_names), split.counts()["train"], facts)
    inputs = PlanInputs(split, 0, False, rough_timing.START_SECONDS, 0.0, timing, ())
    plan = estimate_plan(with_epochs(recipe, [1] * len(recipe.stage)), inputs)
    seconds = plan.seconds["start"] + (plan.total_seconds - plan.seconds["start"]) / SHARE
    if request.time_budget >= seconds / _DOUBT:
        return
    smallest = format_duration(_STEP * math.ceil(seconds / _STEP))
    raise RecipeError(
        f"A time budget of {format_duration(request.time_budget)} is too small: even with one epoch per stage, "
        f"{recipe.backbone.name} on {counted(split.counts()['train'], 'training image')} takes about {smallest} here.",
        hint=f"Increase it: --time-budget {smallest}",
    )
