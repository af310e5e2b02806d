"""A fine-tuning that has to end in time: epochs planned into a budget, and a guard for where the plan was wrong."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from typing import Any

from transfer_cli.errors import RecipeError, RunError
from transfer_cli.io.atomic import write_json
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import seconds_in_words
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.planning.estimate import Plan, PlanInputs, StagePlan, plan_of

SHARE = 0.9
"""So much of what is left of a budget is planned to be used: machines are not equally quick all the time."""


def fitted(recipe: FinetuneRecipe, basis: PlanInputs, budget: float) -> tuple[FinetuneRecipe, Plan]:
    """Return the recipe with the most epochs that end within a budget, and its plan.

    All stages are shortened by the same share, to one epoch each at least, so that schedules that end at zero still do.
    Views are kept as ``auto`` says; where fewer epochs than that are left, as many as are seen twice.

    Parameters
    ----------
    recipe : FinetuneRecipe
        Resolved.
    basis : Basis
        Its start is what has passed of the budget.
    budget : float
        Seconds of the whole command.

    Raises
    ------
    RecipeError
        When one epoch a stage takes longer.
    """
    train = basis.split.counts()["train"]
    stages = [stage.for_pictures(train, recipe.step_size).length for stage in recipe.stage]
    keeps = _keeps(plan_of(recipe, basis))
    for most in range(max(stages), 0, -1):
        epochs = [max(1, length * most // max(stages)) for length in stages]
        shorter = _with_views(with_epochs(recipe, epochs), basis, keeps)
        plan = plan_of(shorter, basis)
        if _planned(plan) <= budget:
            return shorter, plan
    raise RecipeError(
        f"A budget of {summary(budget)} is too little: with one epoch a stage the whole command takes about "
        f"{seconds_in_words(_planned(plan))} here, with what is kept free for a slower moment.",
        hint=f"Give it more: --time-budget {summary(math.ceil(_planned(plan)))}",
    )


def _planned(plan: Plan) -> float:
    """Return the budget that a plan needs: what has passed is known, what comes may be slower."""
    return plan.seconds["start"] + (plan.total_seconds - plan.seconds["start"]) / SHARE


def with_epochs(recipe: FinetuneRecipe, epochs: list[int], views: str | int | None = None) -> FinetuneRecipe:
    """Return a recipe with these epochs for its stages, and these views where they are given."""
    stages = tuple(
        stage.model_copy(update={"epochs": count}) for stage, count in zip(recipe.stage, epochs, strict=True)
    )
    trunk = recipe.trunk if views is None else recipe.trunk.model_copy(update={"views": views})
    return recipe.model_copy(update={"stage": stages, "trunk": trunk})


def _keeps(plan: Plan) -> bool:
    """Return whether every stage with frozen layers keeps views."""
    views = [stage.views for stage in plan.stages if stage.views is not None]
    return bool(views) and all(views)


def _with_views(recipe: FinetuneRecipe, basis: PlanInputs, keeps: bool) -> FinetuneRecipe:
    """Return a shortened recipe that keeps views if it did before it was shortened."""
    if recipe.trunk.views != "auto" or not keeps or _keeps(plan_of(recipe, basis)):
        return recipe
    epochs = [stage.length for stage in recipe.stage]
    return with_epochs(recipe, epochs, max(1, max(epochs) // 2))


def what_was_chosen(request: FinetuneRecipe, planned: FinetuneRecipe, plan: Plan, train: int, budget: float) -> str:
    """Return one line about what became of the epochs."""
    before = [stage.for_pictures(train, request.step_size).length for stage in request.stage]
    after = [stage.length for stage in planned.stage]
    about = f"about {seconds_in_words(plan.total_seconds)} are expected"
    if before == after:
        return f"all {_sum(after)} epochs fit into {summary(budget)}: {about}"
    views = "" if planned.trunk.views == request.trunk.views else f", with {planned.trunk.views} views of each picture"
    return f"{_sum(before)} epochs become {_sum(after)} to end within {summary(budget)}{views}: {about}"


def _sum(epochs: list[int]) -> str:
    return " + ".join(map(str, epochs))


def write_plan(run: RunDirectory, request: FinetuneRecipe, planned: FinetuneRecipe, plan: Plan, budget: float) -> None:
    """Write what was planned, for whoever goes on with the run."""
    facts = {
        "time_budget": budget,
        "asked": request.model_dump(mode="json"),
        "epochs": [stage.length for stage in planned.stage],
        "views": planned.trunk.views,
        "plan": asdict(plan),
    }
    write_json(run.plan, facts)


def planned_for(run: RunDirectory) -> float | None:
    """Return the budget, in seconds, that a run was planned for; None where it was not, or is begun anew."""
    return float(_read(run)["time_budget"]) if run.plan.is_file() else None


def going_on(request: TrainingRequest, recipe: FinetuneRecipe) -> FinetuneRecipe | None:
    """Return the recipe that an earlier command planned for this run, or None where it has to be planned.

    Raises
    ------
    RunError
        When the run was planned for another budget.
    """
    run = request.run
    if request.overwrite or not run.plan.is_file():
        return None
    facts = _read(run)
    if facts["asked"] != recipe.model_dump(mode="json"):
        return None
    if facts["time_budget"] != request.time_budget:
        if not (run.checkpoints.exists() or run.metrics.exists()):
            # Nothing of it was done yet.
            return None
        before, now = summary(facts["time_budget"]), request.time_budget
        raise RunError(
            f"{run.path} was planned for a time budget of {before}. Received: {summary(now) if now else 'none'}.",
            hint=f"To go on with it: --time-budget {before}. To begin anew: --overwrite.",
        )
    return with_epochs(recipe, facts["epochs"], facts["views"])


def _read(run: RunDirectory) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(run.plan.read_text("utf-8"))
        if {"time_budget", "asked", "epochs", "views", "plan"} <= facts.keys():
            return facts
        reason = "it lacks words"
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error)
    raise RunError(f"{run.plan} cannot be read: {reason}.", hint="Begin this run anew with --overwrite.")


class TimeBudgetGuard:
    """What ends a stage before its last epoch where a budget is nearly used up all the same.

    Parameters
    ----------
    run : RunDirectory
        With its plan.
    begun : float
        When the command began, by time.monotonic.
    """

    def __init__(self, run: RunDirectory, begun: float) -> None:
        facts = _read(run)
        self._budget: float = facts["time_budget"]
        self._deadline = begun + self._budget
        plan = facts["plan"]
        self._stages = [StagePlan(**stage) for stage in plan["stages"]]
        self._refit = [StagePlan(**stage) for stage in plan["refit"]]
        self._end: float = plan["seconds"]["score"] + plan["seconds"]["bundle"]
        self._probe: float = plan["seconds"]["refit"] - sum(stage.seconds for stage in self._refit)

    def why(self, state: State) -> str:
        """Return why the stage of a state ends now, or nothing."""
        last = state.history[-1].seconds
        left, after = self._deadline - time.monotonic(), self._after(state)
        if left >= last + after:
            return ""
        return (
            f"stopped after {state.done} epochs of this stage: {summary(self._budget)} are nearly used up; "
            f"another one ({last:.1f} s) and what follows (about {after:.0f} s) do not fit into {max(left, 0):.0f} s. "
            "This went slower than planned, and the learning rate has not come to its end"
        )

    def _after(self, state: State) -> float:
        """Return how long all takes that follows the stage of a state."""
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
        again = sum(stage.preparing_seconds + share * stage.epochs * stage.epoch_seconds for stage in self._refit)
        return self._end + later + self._probe + again


def summary(seconds: float) -> str:
    """Return a duration as it is typed.

    Examples
    --------
    >>> in_words(90), in_words(600), in_words(5400)
    ('1m30s', '10m', '1h30m')
    """
    whole = round(seconds)
    parts = ((whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
