"""A time budget: the epochs that fit, a run that goes on with them, and an end in good order."""

from __future__ import annotations

import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_finetune import call
from tests.conftest import FINETUNE_WORDS
from tests.finetuning import WORDS, rows_of, run_on
from tests.training.planning.test_plan import Heard, plan_of, tree
from tests.training.test_resume import same_end, stop_before_each_epoch
from transfer_cli import FinetuneRecipe
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import RecipeError, RunError
from transfer_cli.runs.history import Epoch
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.planning import time_budget
from transfer_cli.training.planning.estimate import PlanInputs
from transfer_cli.training.planning.estimate import plan_of as reckoned
from transfer_cli.training.planning.profiling import StageTiming, Timing

LONG = ("split.val=0.2", "stage.1.epochs=2000", "early_stopping.patience=0", "batch_size=8")


def basis(stages: int, refits: bool = False, shape: tuple[int, ...] | None = (2, 2, 8)) -> PlanInputs:
    """Return a basis with round numbers: 80 pictures of train, 20 of val, 10 steps an epoch of 0.1 s each."""
    parts = ["train"] * 80 + ["val"] * 20
    rows = tuple(SplitRow(f"{n}.png", f"{n:064}", "ab"[n % 2], part) for n, part in enumerate(parts))
    stage = StageTiming(1000, shape, True, 0.5, 0.01, 0.0, 0.5, 0.1, 0.0, 0.0, 5000)
    timing = Timing(0.0, 0.0, 0.0, 1.0, 1.0, (stage,) * stages, 4000, 10**9)
    return PlanInputs(Split(rows, 0, "digest"), 0, refits, 5.0, 0.01, timing, ())


def recipe_of(*overrides: str, source: str | None = None) -> FinetuneRecipe:
    return FinetuneRecipe.load(source, ["batch_size=8", *overrides], WORDS).resolved()


def test_the_seconds_of_a_plan_add_up() -> None:
    plan = reckoned(recipe_of("stage.1.epochs=20"), basis(1))
    assert plan.stages[0].views == 8
    assert plan.stages[0].seconds == pytest.approx(0.5 + 0.5 + 8 * 80 * 0.01 + 20 * 10 * 0.1)
    assert plan.seconds == pytest.approx(
        {"start": 5, "read": 1, "probe": 1, "stages": 27.4, "refit": 0, "score": 0, "bundle": 3}
    )
    again = reckoned(recipe_of("stage.1.epochs=20"), basis(1, refits=True))
    assert again.seconds["refit"] == pytest.approx(1 + 1 + 8 * 100 * 0.01 + 20 * 13 * 0.1)


@pytest.mark.parametrize(("seconds", "epochs"), [(100, 20), (41, 20), (40, 19), (30, 11), (20, 5), (14.5, 1)])
def test_as_many_epochs_as_fit(seconds: float, epochs: int) -> None:
    chosen, plan = time_budget.fitted(recipe_of("stage.1.epochs=20"), basis(1), seconds)
    assert chosen.stage[0].epochs == epochs
    assert 5 + (plan.total_seconds - 5) / time_budget.SHARE <= seconds


def test_all_stages_are_shortened_alike_and_a_refit_counts(two_stages: Path) -> None:
    recipe = recipe_of("stage.1.epochs=10", "stage.2.epochs=30", source=str(two_stages))
    chosen, plan = time_budget.fitted(recipe, basis(2, shape=None), 30)
    first, second = (stage.length for stage in chosen.stage)
    assert 1 <= first < 10
    assert second == pytest.approx(3 * first, abs=2)
    again, _ = time_budget.fitted(recipe, basis(2, refits=True, shape=None), 30)
    assert again.stage[1].length < second
    # The twin: one epoch more a stage does not fit.
    more = time_budget.with_epochs(recipe, [first + 1, second + 3])
    assert 5 + (reckoned(more, basis(2, shape=None)).total_seconds - 5) / time_budget.SHARE > 30
    assert plan.stages[1].epochs == second


def test_views_shrink_with_the_epochs_and_stay_kept() -> None:
    chosen, plan = time_budget.fitted(recipe_of("stage.1.epochs=20"), basis(1), 20)
    assert chosen.stage[0].epochs == 5
    assert (chosen.trunk.views, plan.stages[0].views) == (2, 2)
    fresh = reckoned(time_budget.with_epochs(chosen, [5], "auto"), basis(1))
    assert fresh.stages[0].views == 0


def test_too_little_says_how_much_would_do(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="A budget of 10s is too little") as error:
        time_budget.fitted(recipe_of("stage.1.epochs=20"), basis(1), 10)
    assert error.value.hint == "Give it more: --time-budget 14s"
    assert time_budget.fitted(recipe_of("stage.1.epochs=20"), basis(1), 14)[0].stage[0].epochs == 1
    run = tmp_path / "run"
    code, out, err = call("finetune", colours, *FINETUNE_WORDS, "--runtime", "keras", "--time-budget", "1s", "-o", run)
    assert (code, out) == (3, "")
    assert "A budget of 1s is too little" in err
    assert "--time-budget" in err.splitlines()[-1]
    assert not run.exists()


@pytest.mark.parametrize(("typed", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400)])
def test_durations(typed: str, seconds: float) -> None:
    from transfer_cli.cli._options import Duration

    assert Duration().convert(typed, None, None) == seconds
    assert Duration().convert(time_budget.summary(seconds), None, None) == seconds


@pytest.mark.parametrize("typed", ["", "10", "ten", "0s", "-5m", "5m1h", "1.5h"])
def test_no_durations(typed: str, colours: Path) -> None:
    code, _, err = call("finetune", colours, "--time-budget", typed)
    assert code == 2
    assert "Expected one such as 90s, 10m, 1h or 1h30m" in err


def test_a_budget_changes_the_epochs_and_goes_on_with_them(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, heard = tmp_path / "run", Heard()
    stopped = stop_before_each_epoch(monkeypatch)
    stopped += [1, 2]
    monkeypatch.setattr(time_budget, "fitted", few_epochs(time_budget.fitted))
    with pytest.raises(KeyboardInterrupt):
        run_on(colours, run, *LONG, time_budget=600.0, progress=heard)
    assert any(line.startswith("2000 epochs become 4 to end within 10m") for line in heard.lines)
    assert tomllib.loads((run / "recipe.toml").read_text())["stage"][0]["epochs"] == 4
    before = (run / "recipe.toml").read_bytes()
    with pytest.raises(RunError, match=r"was planned for a time budget of 10m. Received: 5m"):
        run_on(colours, run, *LONG, time_budget=300.0)
    with pytest.raises(RunError, match=r"was planned for a time budget of 10m. Received: none"):
        run_on(colours, run, *LONG)
    heard = Heard()
    stopped += [3, 4]
    result = run_on(colours, run, *LONG, time_budget=600.0, progress=heard)
    assert any(line.startswith("going on after epoch 2") for line in heard.lines)
    assert not any("become" in line for line in heard.lines)
    assert (run / "recipe.toml").read_bytes() == before
    assert [row["epoch"] for row in rows_of(run / "history.csv") if row["refit"] == "no"] == ["0", "1", "2", "3", "4"]
    assert run_on(colours, run, *LONG, time_budget=600.0).was_complete
    assert not result.was_complete
    # Planning leaves no trace: the same epochs without a budget end in the same weights.
    views = tomllib.loads(before.decode())["trunk"]["views"]
    words = (*LONG, "stage.1.epochs=4", f"trunk.views={views}")
    straight = run_on(colours, tmp_path / "straight", *words)
    assert same_end(straight.run.path, run)


def few_epochs(fitted: object) -> object:
    """Return `budget.fitted` on a machine on which an epoch takes two minutes."""

    def slower(recipe: FinetuneRecipe, found: PlanInputs, seconds: float) -> object:
        stages = tuple(replace(stage, saving=55.0) for stage in found.timing.stages)
        return fitted(recipe, replace(found, timing=replace(found.timing, stages=stages)), seconds)  # type: ignore[operator]

    return slower


@pytest.mark.slow
def test_the_guard_ends_a_stage_where_the_plan_was_wrong(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("split.val=0.2", "stage.1.epochs=6", "early_stopping.patience=0", "refit.when=never")
    heard = Heard()
    real = time_budget.TimeBudgetGuard.why

    def third_is_slow(self: time_budget.TimeBudgetGuard, state: State) -> str:
        *before, last = state.history
        slow = replace(state, history=(*before, replace(last, seconds=600.0)))
        return real(self, slow if state.done == 3 else state)

    monkeypatch.setattr(time_budget.TimeBudgetGuard, "why", third_is_slow)
    result = run_on(colours, tmp_path / "run", *words, time_budget=300.0, progress=heard)
    assert len(rows_of(result.run.history)) == 4
    (said,) = [line for line in heard.lines if "are nearly used up" in line]
    assert said.startswith("stopped after 3 epochs of this stage: 5m are nearly used up")
    assert '"budget used up"' in result.run.events.read_text()
    assert result.metrics["test"]
    # The twin: the quick epochs before it ended nothing; nor is anything ended where a run has just begun.
    state = State(split_digest="", done=1, history=(Epoch(1, 1, 1e-3, 1.0, 0.5, None, None, seconds=2.0),))
    assert real(time_budget.TimeBudgetGuard(result.run, time.monotonic()), state) == ""
    assert "nearly used up" in real(time_budget.TimeBudgetGuard(result.run, time.monotonic() - 299), state)


def test_a_plan_with_a_budget(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(tmp_path)
    monkeypatch.setattr(time_budget, "fitted", few_epochs(time_budget.fitted))
    assert plan_of(colours, tmp_path / "run", *LONG, time_budget=600.0).stages[0].epochs == 4
    assert tree(tmp_path) == before
