"""``transfer-cli ensemble`` as users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Outcome
from transfer_cli.cli.main import main
from transfer_cli.ensembling.member_comparison import MemberComparison

pytestmark = pytest.mark.integration


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_ensemble_average_reports_members_and_cost(
    joinable: dict[str, Path], colours: Path, transfer_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    result = transfer_cli("ensemble", *joinable.values(), "-o", "both", "--method", "average")
    assert result.code == 0, result.err
    assert result.out == "both\n"
    company = MemberComparison.read(tmp_path / "both/members.json")
    assert [row.name for row in company.rows] == ["colours", "small", "large"]
    for row in company.rows:
        assert row.accuracy["low"] is not None
        assert row.cost.milliseconds > 0
        assert f"{row.name}: accuracy {row.accuracy['value']:.3f}, gain of the ensemble " in result.err
    largest = max(row.cost.milliseconds for row in company.rows)
    assert company.cost.milliseconds >= largest
    assert company.cost.megabytes <= sum(row.cost.megabytes for row in company.rows)
    assert "members disagree on " in result.err
    assert "next: transfer-cli report both --open" in result.err
    for name in ("recipe.toml", "split.csv", "metrics.json", "predictions_test.csv", "events.jsonl", "command.txt"):
        assert (tmp_path / "both" / name).is_file()
    message = transfer_cli("predict", "both", colours / "red", "--top-k", "1")
    assert message.code == 0, message.err
    assert len(message.out.splitlines()) == 13
    checked = transfer_cli("evaluate", "both", colours)
    assert checked.code == 0, checked.err
    assert "was trained on" in checked.err
    assert transfer_cli("bundle", "verify", "both").code == 0
    again = transfer_cli("--json", "ensemble", *joinable.values(), "-o", "both", "--method", "average")
    assert again.json["run"] == "both"  # type: ignore[index]
    assert "this run is already complete; nothing to do" in again.err


def test_ensemble_packed_and_unpacked_is_same_model(joinable: dict[str, Path], tmp_path: Path) -> None:
    assert call("ensemble", *joinable.values(), "-o", tmp_path / "run", "--method", "stack")[0] == 0
    code, _, _ = call("bundle", "pack", tmp_path / "run", "-o", tmp_path / "a.zip")
    assert code == 0
    code, _, message = call("bundle", "unpack", tmp_path / "a.zip", "-o", tmp_path / "there")
    assert code == 0, message
    assert call("bundle", "pack", tmp_path / "there", "-o", tmp_path / "b.zip")[0] == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    shown = json.loads(call("--json", "bundle", "show", tmp_path / "there")[1])
    assert shown["combination"] == "stack"
    assert [member["name"] for member in shown["members"]] == ["colours", "small", "large"]


def test_ensemble_limits_need_greedy(joinable: dict[str, Path], tmp_path: Path) -> None:
    code, _, message = call("ensemble", *joinable.values(), "-o", tmp_path / "run", "--max-models", 1)
    assert code == 2
    assert "--max-models and --max-ms need --method greedy" in message
    arguments = ("ensemble", *joinable.values(), "-o", tmp_path / "run", "--method", "greedy", "--max-models", 1)
    code, _, message = call(*arguments)
    assert code == 0, message
    assert "members left out, as the ensemble is better on val without them" in message
    company = MemberComparison.read(tmp_path / "run/members.json")
    assert sum(row.weight > 0 for row in company.rows) == 1
    code, _, message = call(*arguments[:-2], "--max-ms", "1e-9", "--overwrite")
    assert code == 3
    assert "No member is within --max-ms; the fastest takes" in message
    assert "Increase --max-ms." in message


@pytest.mark.parametrize("arguments", [("--method", "averag"), ("--metod", "vote")])
def test_ensemble_mistyped_option_is_usage_error(
    arguments: tuple[str, ...], joinable: dict[str, Path], tmp_path: Path
) -> None:
    code, _, message = call("ensemble", *joinable.values(), "-o", tmp_path / "run", *arguments)
    assert code == 2
    assert "average" in message or "--method" in message
