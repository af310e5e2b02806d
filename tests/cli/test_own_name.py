"""Runs with a default name, as users start them twice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from transfer_cli.auto.state import AutoState
from transfer_cli.cli.main import main
from transfer_cli.io.atomic import write_json
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.runs import lock
from transfer_cli.runs.run_directory import RunDirectory

pytestmark = pytest.mark.integration


def call(*words: str | Path) -> Result:
    arguments = [*map(str, words)]
    with pytest.MonkeyPatch.context() as patch:
        # command.txt holds what was typed.
        patch.setattr("sys.argv", ["transfer-cli", *arguments])
        return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_extract_and_ensemble_twice_and_with_other_settings(colours: Path) -> None:
    extract = ("extract", colours, "--backbone", "embedded")
    first = call("--json", *extract)
    assert first.exit_code == 0, first.stderr
    assert json.loads(first.stdout)["run"] == "runs/colours-embedded"
    again = call("--json", *extract)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert again.stderr.startswith("this run is already complete; nothing to do\n")

    second = call(*extract, "--seed", "1")
    line = (
        "runs/colours-embedded holds another run (--seed is 0 there and 1 here); this one is runs/colours-embedded-2\n"
    )
    assert (second.exit_code, second.stdout) == (0, "runs/colours-embedded-2\n")
    assert second.stderr.startswith(line)
    again = call(*extract, "--seed", "1")
    assert (again.exit_code, again.stdout) == (0, second.stdout)
    assert again.stderr.startswith(line + "this run is already complete; nothing to do\n")

    named = call(*extract, "--classifier", "linear-svm", "--set", "batch_size=8", "-o", "runs/colours-embedded")
    assert (named.exit_code, named.stdout) == (3, "")
    assert named.stderr == (
        "error: runs/colours-embedded holds another run: --set batch_size is 32 there and 8 here; "
        "--classifier is lda there and linear-svm here.\n"
        "Choose another place with -o RUN, or add --overwrite to replace it.\n"
    )

    members = ("runs/colours-embedded", "runs/colours-embedded-2")
    assert call("ensemble", *members).stdout == "runs/ensemble-colours\n"
    assert call("ensemble", *members).stdout == "runs/ensemble-colours\n"
    other = call("ensemble", *members, "--method", "vote")
    assert other.stdout == "runs/ensemble-colours-2\n", other.stderr
    assert "(--method is weighted there and vote here)" in other.stderr


def test_auto_named_place_of_another_run_is_an_error(colours: Path) -> None:
    run, recipe = RunDirectory(Path("runs/a")), AutoRecipe()
    run.claim(recipe, colours, command=["transfer-cli", "auto", "colours", "--time-budget", "10m"])
    write_json(run.auto, asdict(AutoState(recipe.model_dump(mode="json"))))
    run.steps.mkdir()
    lock.release(run.path)
    result = call("auto", colours, "--time-budget", "3m", "--among", "embedded", "-o", "runs/a")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(
        "error: runs/a holds another run: --among is not given there and embedded here; "
        "--time-budget is 10m there and 3m here.\n"
    )


def test_rank_twice_and_with_other_settings(colours: Path) -> None:
    rank = ("rank", colours, "--among", "embedded", "--score", "logme")
    first = call("--json", *rank)
    assert first.exit_code == 0, first.stderr
    again = call("--json", *rank)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert "this ranking is already complete; nothing to do\n" in again.stderr
    other = call(*rank, "--seed", "1")
    assert other.stdout == "runs/rank-colours-2\n", other.stderr
    assert other.stderr.startswith("runs/rank-colours holds another run (--seed is 0 there and 1 here); this one is")
    named = call(*rank, "--seed", "2", "-o", "runs/rank-colours")
    assert named.exit_code == 3
    assert "holds another ranking: --seed is 0 there and 2 here." in named.stderr
