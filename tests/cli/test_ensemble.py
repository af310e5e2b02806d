"""``transfer-cli ensemble`` as a person meets it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Outcome
from transfer_cli.cli.main import main
from transfer_cli.ensembling.member_comparison import MemberComparison


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_person_sees_what_it_is_worth(
    joinable: dict[str, Path], colours: Path, transfer_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    done = transfer_cli("ensemble", *joinable.values(), "-o", "both", "--method", "average")
    assert done.code == 0, done.err
    assert done.out == "both\n"
    company = MemberComparison.read(tmp_path / "both/members.json")
    assert [row.name for row in company.rows] == ["colours", "small", "large"]
    for row in company.rows:
        assert row.accuracy["low"] is not None
        assert row.cost.milliseconds > 0
        assert f"{row.name}: {row.accuracy['value']:.3f}, the ensemble " in done.err
    largest = max(row.cost.milliseconds for row in company.rows)
    assert company.cost.milliseconds >= largest
    assert company.cost.megabytes <= sum(row.cost.megabytes for row in company.rows)
    assert "two members differ on " in done.err
    assert "next: transfer-cli predict both YOUR_PICTURES" in done.err
    for name in ("recipe.toml", "split.csv", "metrics.json", "predictions_test.csv", "events.jsonl", "command.txt"):
        assert (tmp_path / "both" / name).is_file()
    said = transfer_cli("predict", "both", colours / "red", "--top-k", "1")
    assert said.code == 0, said.err
    assert len(said.out.splitlines()) == 13
    checked = transfer_cli("evaluate", "both", colours)
    assert checked.code == 0, checked.err
    assert "learnt from" in checked.err
    assert transfer_cli("bundle", "verify", "both").code == 0
    again = transfer_cli("--json", "ensemble", *joinable.values(), "-o", "both", "--method", "average")
    assert again.json["run"] == "both"  # type: ignore[index]
    assert "this run is complete: nothing was done" in again.err


def test_a_packed_ensemble_is_the_same_elsewhere(joinable: dict[str, Path], tmp_path: Path) -> None:
    assert call("ensemble", *joinable.values(), "-o", tmp_path / "run", "--method", "stack")[0] == 0
    code, _, _ = call("bundle", "pack", tmp_path / "run", "-o", tmp_path / "a.zip")
    assert code == 0
    code, _, said = call("bundle", "unpack", tmp_path / "a.zip", "-o", tmp_path / "there")
    assert code == 0, said
    assert call("bundle", "pack", tmp_path / "there", "-o", tmp_path / "b.zip")[0] == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    shown = json.loads(call("--json", "bundle", "show", tmp_path / "there")[1])
    assert shown["combination"] == "stack"
    assert [member["name"] for member in shown["members"]] == ["colours", "small", "large"]


def test_limits_are_for_a_greedy_selection(joinable: dict[str, Path], tmp_path: Path) -> None:
    code, _, said = call("ensemble", *joinable.values(), "-o", tmp_path / "run", "--max-models", 1)
    assert code == 2
    assert "--max-models and --max-ms are for --method greedy" in said
    words = ("ensemble", *joinable.values(), "-o", tmp_path / "run", "--method", "greedy", "--max-models", 1)
    code, _, said = call(*words)
    assert code == 0, said
    assert "left out, since val is better without" in said
    company = MemberComparison.read(tmp_path / "run/members.json")
    assert sum(row.weight > 0 for row in company.rows) == 1
    code, _, said = call(*words[:-2], "--max-ms", "1e-9", "--overwrite")
    assert code == 3
    assert "No member is within the limits; the fastest takes" in said
    assert "Allow more with --max-ms." in said


@pytest.mark.parametrize("words", [("--method", "averag"), ("--metod", "vote")])
def test_a_typing_error_is_a_usage_error(words: tuple[str, ...], joinable: dict[str, Path], tmp_path: Path) -> None:
    code, _, said = call("ensemble", *joinable.values(), "-o", tmp_path / "run", *words)
    assert code == 2
    assert "average" in said or "--method" in said
