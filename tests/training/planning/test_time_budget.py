"""Time budgets: the epochs that fit, resuming with them, and an early end if training is slow."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_finetune import call
from tests.conftest import FINETUNE_WORDS
from tests.finetuning import WORDS, rows_of, run_on
from tests.training.planning.test_plan import RecordedProgress, plan_of, tree
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import RecipeError, RunConflictError, RunError
from transfer_cli.runs import lock
from transfer_cli.runs.history import Epoch
from transfer_cli.text import format_duration
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.planning import time_budget
from transfer_cli.training.planning.estimate import PlanInputs, StageTiming, Timing, estimate_plan

pytestmark = pytest.mark.integration

FIXED = ("batch_size=8", "augmentation.horizontal_flip=true", "early_stopping.keep=best")
LONG = ("split.val=0.2", "stage.1.epochs=2000", "early_stopping.patience=0", *FIXED)


def inputs(stages: int, refits: bool = False, shape: tuple[int, ...] | None = (2, 2, 8)) -> PlanInputs:
    """Return round numbers: 80 training and 20 validation images, 10 steps per epoch of 0.1 s each."""
    parts = ["train"] * 80 + ["val"] * 20
    rows = tuple(SplitRow(f"{n}.png", f"{n:064}", "ab"[n % 2], part) for n, part in enumerate(parts))
    stage = StageTiming(1000, shape, True, 0.5, 0.01, 0.0, 0.5, 0.1, 0.0, 0.0, 5000)
    timing = Timing(0.0, 0.0, 0.0, 1.0, 1.0, (stage,) * stages, 4000, 10**9)
    return PlanInputs(Split(rows, 0, "digest"), 0, refits, 5.0, 0.01, timing, ())


def recipe_of(*overrides: str, source: str | None = None) -> FinetuneRecipe:
    return FinetuneRecipe.load(source, [*FIXED, *overrides], WORDS).resolved()


def test_estimate_plan_seconds_add_up() -> None:
    plan = estimate_plan(recipe_of("stage.1.epochs=20"), inputs(1))
    assert plan.stages[0].views == 8
    assert plan.stages[0].seconds == pytest.approx(0.5 + 0.5 + 8 * 80 * 0.01 + 20 * 10 * 0.1)
    assert plan.seconds == pytest.approx(
        {"start": 5, "read": 1, "probe": 1, "stages": 27.4, "refit": 0, "score": 0, "bundle": 3}
    )
    again = estimate_plan(recipe_of("stage.1.epochs=20"), inputs(1, refits=True))
    assert again.seconds["refit"] == pytest.approx(1 + 1 + 8 * 100 * 0.01 + 20 * 13 * 0.1)


@pytest.mark.parametrize(("seconds", "epochs"), [(100, 20), (41, 20), (40, 19), (30, 11), (20, 5), (14.5, 1)])
def test_fit_epochs_returns_the_most_that_fit(seconds: float, epochs: int) -> None:
    chosen, plan = time_budget.fit_epochs(recipe_of("stage.1.epochs=20"), inputs(1), seconds)
    assert chosen.stage[0].epochs == epochs
    assert 5 + (plan.total_seconds - 5) / time_budget.SHARE <= seconds


def test_fit_epochs_shortens_all_stages_by_the_same_share(two_stages: Path) -> None:
    recipe = recipe_of("stage.1.epochs=10", "stage.2.epochs=30", source=str(two_stages))
    chosen, plan = time_budget.fit_epochs(recipe, inputs(2, shape=None), 30)
    first, second = (stage.length for stage in chosen.stage)
    assert 1 <= first < 10
    assert second == pytest.approx(3 * first, abs=2)
    again, _ = time_budget.fit_epochs(recipe, inputs(2, refits=True, shape=None), 30)
    assert again.stage[1].length < second
    # One more epoch per stage does not fit.
    more = time_budget.with_epochs(recipe, [first + 1, second + 3])
    assert 5 + (estimate_plan(more, inputs(2, shape=None)).total_seconds - 5) / time_budget.SHARE > 30
    assert plan.stages[1].epochs == second


def test_fit_epochs_reduces_cached_views() -> None:
    chosen, plan = time_budget.fit_epochs(recipe_of("stage.1.epochs=20"), inputs(1), 20)
    assert chosen.stage[0].epochs == 5
    assert (chosen.trunk.views, plan.stages[0].views) == (2, 2)
    fresh = estimate_plan(time_budget.with_epochs(chosen, [5], "auto"), inputs(1))
    assert fresh.stages[0].views == 0


def test_fit_epochs_too_small_budget_suggests_a_larger_one(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="A time budget of 10s is too small") as error:
        time_budget.fit_epochs(recipe_of("stage.1.epochs=20"), inputs(1), 10)
    assert error.value.hint == "Increase it: --time-budget 14s"
    assert time_budget.fit_epochs(recipe_of("stage.1.epochs=20"), inputs(1), 14)[0].stage[0].epochs == 1
    run = tmp_path / "run"
    code, out, err = call("finetune", colours, *FINETUNE_WORDS, "--runtime", "keras", "--time-budget", "1s", "-o", run)
    assert (code, out) == (3, "")
    assert "A time budget of 1s is too small" in err
    assert "--time-budget" in err.splitlines()[-1]
    assert not run.exists()


@pytest.mark.parametrize(("typed", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400)])
def test_duration_option_accepts_what_format_duration_writes(typed: str, seconds: float) -> None:
    from transfer_cli.cli._types import duration

    assert duration(typed) == seconds
    assert duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("typed", ["", "10", "ten", "0s", "-5m", "5m1h", "1.5h"])
def test_duration_option_rejects_other_text(typed: str, colours: Path) -> None:
    code, _, err = call("finetune", colours, "--time-budget", typed)
    assert code == 2
    assert "Expected for example 90s, 10m, 1h or 1h30m" in err


def test_planned_recipe_of_a_started_run_names_what_differs(colours: Path, tmp_path: Path) -> None:
    run, recipe = RunDirectory(tmp_path / "run"), recipe_of("stage.1.epochs=20")
    request = TrainingRequest(ImageFolder.scan(colours), run, time_budget=600.0)
    run.claim(recipe, colours, command=["transfer-cli", "finetune", "colours", "--time-budget", "600s"])
    run.lock()
    try:
        assert time_budget.planned_recipe(request, recipe) is None, "nothing was planned or trained"
        run.checkpoints.mkdir()
        with pytest.raises(RunConflictError, match=r"holds another run: --time-budget is 600s there and 10m here\."):
            time_budget.planned_recipe(request, recipe)
        plan = {
            "time_budget": 600.0,
            "requested": recipe.model_dump(mode="json"),
            "epochs": [3],
            "views": 2,
            "plan": {},
        }
        run.plan.write_text(json.dumps(plan))
        planned = time_budget.planned_recipe(request, recipe)
        assert planned is not None
        assert (planned.stage[0].epochs, planned.trunk.views) == (3, 2)
        other = recipe_of("stage.1.epochs=30")
        with pytest.raises(RunConflictError) as caught:
            time_budget.planned_recipe(replace(request, time_budget=180.0), other)
        # The epochs that were asked for are compared, not those that fitted.
        assert caught.value.differences == (
            "--set stage.1.epochs is 20 there and 30 here",
            "--time-budget is 600s there and 3m here",
        )
        assert time_budget.planned_recipe(replace(request, time_budget=180.0, overwrite=True), other) is None
    finally:
        lock.release(run.path)


def test_finetune_with_budget_resumes_with_the_planned_epochs(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, progress = tmp_path / "run", RecordedProgress()
    stopped = stop_before_each_epoch(monkeypatch)
    stopped += [1, 2]
    monkeypatch.setattr(time_budget, "fit_epochs", few_epochs(time_budget.fit_epochs))
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, run, *LONG, time_budget=600.0, progress=progress)
    assert any(line.startswith("2000 epochs reduced to 4 to end within 10m") for line in progress.lines)
    assert tomllib.loads((run / "recipe.toml").read_text())["stage"][0]["epochs"] == 4
    before = (run / "recipe.toml").read_bytes()
    with pytest.raises(RunError, match=r"--time-budget is 10m there and 5m here"):
        run_on(colours, run, *LONG, time_budget=300.0)
    with pytest.raises(RunError, match=r"--time-budget is 10m there and not given here"):
        run_on(colours, run, *LONG)
    progress = RecordedProgress()
    stopped += range(3, 20)  # those of a refit, too
    result = run_on(colours, run, *LONG, time_budget=600.0, progress=progress)
    assert any(line.startswith("resuming after epoch 2") for line in progress.lines)
    assert not any("reduced to" in line for line in progress.lines)
    assert (run / "recipe.toml").read_bytes() == before
    assert [row["epoch"] for row in rows_of(run / "history.csv") if row["refit"] == "no"] == ["0", "1", "2", "3", "4"]
    assert run_on(colours, run, *LONG, time_budget=600.0).was_complete
    assert not result.was_complete
    # Planning has no effect on the training: the same epochs without a budget end in the same weights.
    views = tomllib.loads(before.decode())["trunk"]["views"]
    words = (*LONG, "stage.1.epochs=4", f"trunk.views={views}")
    straight = run_on(colours, tmp_path / "straight", *words)
    assert same_end(straight.run.path, run)


def few_epochs(fit_epochs: object) -> object:
    """Return `fit_epochs` on a machine on which an epoch takes two minutes."""

    def slower(recipe: FinetuneRecipe, measured: PlanInputs, seconds: float) -> object:
        stages = tuple(replace(stage, save_seconds=55.0) for stage in measured.timing.stages)
        return fit_epochs(recipe, replace(measured, timing=replace(measured.timing, stages=stages)), seconds)  # type: ignore[operator]

    return slower


@pytest.mark.slow
def test_time_budget_guard_ends_a_stage_that_is_too_slow(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("split.val=0.2", "stage.1.epochs=6", "early_stopping.patience=0", "refit.when=never")
    progress = RecordedProgress()
    real = time_budget.TimeBudgetGuard.stop_reason

    def third_is_slow(self: time_budget.TimeBudgetGuard, state: State) -> str:
        *before, last = state.history
        slow = replace(state, history=(*before, replace(last, seconds=600.0)))
        return real(self, slow if state.done == 3 else state)

    monkeypatch.setattr(time_budget.TimeBudgetGuard, "stop_reason", third_is_slow)
    result = run_on(colours, tmp_path / "run", *words, time_budget=300.0, progress=progress)
    assert len(rows_of(result.run.history)) == 4
    (messages,) = [line for line in progress.lines if "nearly used up" in line]
    assert messages.startswith("stopped after 3 epochs of this stage: the time budget of 5m is nearly used up")
    assert '"budget used up"' in result.run.events.read_text()
    assert result.metrics["test"]
    # Fast epochs end nothing, and neither does a run that has just started.
    state = State(split_digest="", done=1, history=(Epoch(1, 1, 1e-3, 1.0, 0.5, None, None, seconds=2.0),))
    assert real(time_budget.TimeBudgetGuard(result.run, time.monotonic()), state) == ""
    assert "nearly used up" in real(time_budget.TimeBudgetGuard(result.run, time.monotonic() - 299), state)


def test_plan_with_budget_has_the_epochs_that_fit(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path)
    monkeypatch.setattr(time_budget, "fit_epochs", few_epochs(time_budget.fit_epochs))
    assert plan_of(colours, tmp_path / "run", *LONG, time_budget=600.0).stages[0].epochs == 4
    assert tree(tmp_path) == before
