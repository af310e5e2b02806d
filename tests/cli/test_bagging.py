"""``--bags`` of extract and finetune, as users run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FINETUNE_WORDS, TINY_WORDS, Outcome, run_command

pytestmark = pytest.mark.integration

Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def bagged(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    run = tmp_path_factory.mktemp("bags") / "run"
    return run, run_command("extract", colours, *TINY_WORDS, "--bags", "2", "-o", run)


def test_extract_bags_trains_and_reports_members(bagged: tuple[Path, Outcome]) -> None:
    run, result = bagged
    assert result.code == 0, result.err
    assert result.out == f"{run}\n"
    assert "bag 2 of 2: val accuracy" in result.err
    assert "out-of-bag" in result.err
    assert "accuracy of 2 members on test: " in result.err
    assert result.err.count("36 images, 3 classes") == 1


def test_extract_bags_repeated_does_nothing(bagged: tuple[Path, Outcome], colours: Path) -> None:
    run, first = bagged
    again = run_command("--json", "extract", colours, *TINY_WORDS, "--bags", "2", "-o", run)
    assert again.code == 0, again.err
    assert "this run is already complete; nothing to do" in again.err
    assert "bag 1 of 2" not in again.err
    assert first.code == 0


def test_bagged_run_accepted_by_predict_and_report(bagged: tuple[Path, Outcome], colours: Path, tmp_path: Path) -> None:
    run, _ = bagged
    result = run_command("predict", run, colours, "-o", tmp_path / "rows.csv")
    assert result.code == 0, result.err
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 37
    result = run_command("report", run)
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "--classifier", "none", "--bags", "3"], "--bags needs a classifier"),
        (["extract", "--method", "vote"], "Received: --method vote without --bags."),
        (["finetune", "--bags", "2", "--method", "votes"], "'votes' is not one of 'average', 'vote'"),
        (["extract", "--bags", "1"], "1 is not in the range 2<=x<=50"),
        (["finetune", "--bags", "51"], "51 is not in the range 2<=x<=50"),
    ],
)
def test_bags_wrong_value_is_usage_error(
    transfer_cli: Command, colours: Path, arguments: list[str], message: str
) -> None:
    result = transfer_cli(arguments[0], colours, *arguments[1:])
    assert result.code == 2
    assert message in result.err


def test_plan_with_bags_gives_total_time(
    transfer_cli: Command, colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    result = transfer_cli("finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, "--bags", "4", "--plan")
    assert result.code == 0, result.err
    assert "this is 1 of 4 bags; all take about" in result.out
    assert not (tmp_path / "runs").exists()
