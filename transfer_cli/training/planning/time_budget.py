"""Fine-tuning within a time budget: as many epochs as fit, and an early end if training is slower than planned."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

from transfer_cli.errors import RecipeError, RunConflictError, RunError
from transfer_cli.io.atomic import write_json
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import duration_text, format_duration
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.planning.estimate import Plan, PlanInputs, StagePlan, estimate_plan

SHARE = 0.9
"""Share of the remaining budget that is planned; the rest is reserve, since the speed of a machine varies."""
_KEYS = {"time_budget", "requested", "epochs", "views", "plan"}


def fit_epochs(recipe: FinetuneRecipe, inputs: PlanInputs, budget: float) -> tuple[FinetuneRecipe, Plan]:
    """Return the recipe with the most epochs that fit into a budget, and its plan.

    All stages are shortened by the same share, to at least one epoch each, so that a schedule that ends at a learning
    rate of zero still does. If views were cached with all epochs, they stay cached: at most half as many as epochs.

    Parameters
    ----------
    recipe : FinetuneRecipe
        Resolved.
    inputs : PlanInputs
        Its start time is the part of the budget that has passed.
    budget : float
        Seconds for the whole command.

    Raises
    ------
    RecipeError
        If one epoch per stage takes longer.
    """
    train = inputs.split.counts()["train"]
    stages = [stage.for_images(train, recipe.step_size).length for stage in recipe.stage]
    caches = _caches_views(estimate_plan(recipe, inputs))
    for most in range(max(stages), 0, -1):
        epochs = [max(1, length * most // max(stages)) for length in stages]
        shorter = with_epochs(recipe, epochs)
        plan = estimate_plan(shorter, inputs)
        if caches and recipe.trunk.views == "auto" and not _caches_views(plan):
            shorter = with_epochs(recipe, epochs, max(1, max(epochs) // 2))
            plan = estimate_plan(shorter, inputs)
        required = plan.seconds["start"] + (plan.total_seconds - plan.seconds["start"]) / SHARE
        if required <= budget:
            return shorter, plan
    raise RecipeError(
        f"A time budget of {format_duration(budget)} is too small: even with one epoch per stage the whole command "
        f"takes about {duration_text(required)} here, including a reserve.",
        hint=f"Increase it: --time-budget {format_duration(math.ceil(required))}",
    )


def with_epochs(recipe: FinetuneRecipe, epochs: list[int], views: str | int | None = None) -> FinetuneRecipe:
    """Return a recipe with other numbers of epochs per stage, and other cached views if they are not None."""
    stages = tuple(
        stage.model_copy(update={"epochs": count}) for stage, count in zip(recipe.stage, epochs, strict=True)
    )
    shorter = recipe.model_copy(update={"stage": stages})
    return shorter if views is None else shorter.with_settings("trunk", views=views)


def _caches_views(plan: Plan) -> bool:
    """Return whether each stage with frozen layers caches their output."""
    views = [stage.views for stage in plan.stages if stage.views is not None]
    return bool(views) and all(views)


def budget_summary(requested: FinetuneRecipe, planned: FinetuneRecipe, plan: Plan, budget: float) -> str:
    """Return one line about the change of the epochs."""
    before, after = (
        " + ".join(str(stage.for_images(plan.images["train"], recipe.step_size).length) for stage in recipe.stage)
        for recipe in (requested, planned)
    )
    expected = f"expected time: about {duration_text(plan.total_seconds)}"
    if before == after:
        fits = f"{after} epoch fits" if after == "1" else f"all {after} epochs fit"
        return f"{fits} into {format_duration(budget)}; {expected}"
    is_same = planned.trunk.views == requested.trunk.views
    views = "" if is_same else f", with {planned.trunk.views} cached views per image"
    return f"{before} epochs reduced to {after} to end within {format_duration(budget)}{views}; {expected}"


def write_plan(request: TrainingRequest, requested: FinetuneRecipe, planned: FinetuneRecipe, plan: Plan) -> None:
    """Write plan.json, so that a later command continues with the same epochs."""
    content = {
        "time_budget": request.time_budget,
        "requested": requested.model_dump(mode="json"),
        "epochs": [stage.length for stage in planned.stage],
        "views": planned.trunk.views,
        "plan": asdict(plan),
    }
    write_json(request.run.plan, content)


def planned_budget(run: RunDirectory) -> float | None:
    """Return the time budget in seconds that a run was planned for, or None if it was not planned."""
    return float(_read_plan(run)["time_budget"]) if run.plan.is_file() else None


def planned_recipe(request: TrainingRequest, recipe: FinetuneRecipe) -> FinetuneRecipe | None:
    """Return the recipe that an earlier command planned for this run, or None if it has to be planned.

    Raises
    ------
    RunConflictError
        If the run was started with another budget, or with other settings.
    """
    run = request.run
    is_started = run.checkpoints.exists() or run.metrics.exists()
    if request.overwrite or not (run.plan.is_file() or (is_started and request.time_budget is not None)):
        return None
    content: dict[str, Any] = {"requested": {}, "time_budget": None}
    content |= _read_plan(run) if run.plan.is_file() else {"requested": run.read_recipe()}
    # A plan reduces the epochs: the recipe that it was made from is compared.
    differences = recipe_differences(
        {**content["requested"], "time_budget": content["time_budget"]},
        {**recipe.model_dump(mode="json"), "time_budget": request.time_budget},
        TypedOptions.read(run.command),
        TypedOptions(request.command),
    )
    if differences := [*differences, *run.folder_difference(request.folder.source)]:
        if is_started:
            raise RunConflictError(run.path, differences)
        return None  # Nothing was trained yet.
    return with_epochs(recipe, content["epochs"], content["views"])


def _read_plan(run: RunDirectory) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(run.plan)
        if content.keys() >= _KEYS:
            return content
        reason = f"{', '.join(sorted(_KEYS - content.keys()))} missing"
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error)
    raise RunError(f"{run.plan} cannot be read: {reason}.", hint="Start this run again with --overwrite.")


class TimeBudgetGuard:
    """Ends a stage before its last epoch if the time budget is nearly used up.

    Parameters
    ----------
    run : RunDirectory
        With its plan.
    begun : float
        Start of the command, in seconds of `time.monotonic`.
    """

    def __init__(self, run: RunDirectory, begun: float) -> None:
        content = _read_plan(run)
        self._budget: float = content["time_budget"]
        self._deadline = begun + self._budget
        plan = content["plan"]
        self._stages = [StagePlan(**stage) for stage in plan["stages"]]
        self._refit = [StagePlan(**stage) for stage in plan["refit"]]
        self._end: float = plan["seconds"]["score"] + plan["seconds"]["bundle"]
        self._probe: float = plan["seconds"]["refit"] - sum(stage.seconds for stage in self._refit)

    def stop_reason(self, state: State) -> str:
        """Return why the current stage has to end now, or "" to go on."""
        last = state.history[-1].seconds
        left, after = self._deadline - time.monotonic(), self._seconds_after(state)
        if left >= last + after:
            return ""
        return (
            f"stopped after {state.done} epochs of this stage: the time budget of {format_duration(self._budget)} is "
            f"nearly used up; another epoch ({last:.1f} s) and the rest (about {after:.0f} s) do not fit into "
            f"{max(left, 0):.0f} s. Training is slower than planned, and the learning rate schedule is not complete"
        )

    def _seconds_after(self, state: State) -> float:
        """Return the expected time of everything that follows the current stage."""
        if state.refit:
            return self._end + sum(stage.seconds for stage in self._refit[state.stage + 1 :])
        later = sum(stage.seconds for stage in self._stages[state.stage + 1 :])
        if not self._refit:
            return self._end + later
        # A refit has as many epochs as were trained before it.
        trained = sum(row.loss is not None for row in state.history)
        share = (trained + sum(stage.epochs for stage in self._stages[state.stage + 1 :])) / sum(
            stage.epochs for stage in self._stages
        )
        again = sum(stage.prepare_seconds + share * stage.epochs * stage.epoch_seconds for stage in self._refit)
        return self._end + later + self._probe + again
