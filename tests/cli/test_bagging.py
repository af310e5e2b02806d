"""``--bags`` of extract and finetune, as a person types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import FINETUNE_WORDS, TINY_WORDS, Outcome, run_command

Command = Callable[..., Outcome]


@pytest.fixture(scope="module")
def bagged(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    run = tmp_path_factory.mktemp("bags") / "run"
    return run, run_command("extract", colours, *TINY_WORDS, "--bags", "2", "-o", run)


def test_extract_in_bags(bagged: tuple[Path, Outcome]) -> None:
    run, done = bagged
    assert done.code == 0, done.err
    assert done.out == f"{run}\n"
    assert "bag 2 of 2: val accuracy" in done.err
    assert "out-of-bag" in done.err
    assert "2 members on test: " in done.err
    assert done.err.count("36 pictures of 3 classes") == 1


def test_the_same_command_does_nothing_more(bagged: tuple[Path, Outcome], colours: Path) -> None:
    run, first = bagged
    again = run_command("--json", "extract", colours, *TINY_WORDS, "--bags", "2", "-o", run)
    assert again.code == 0, again.err
    assert "this run is complete: nothing was done" in again.err
    assert "bag 1 of 2" not in again.err
    assert first.code == 0


def test_what_it_made_is_predicted_and_reported_on(bagged: tuple[Path, Outcome], colours: Path, tmp_path: Path) -> None:
    run, _ = bagged
    done = run_command("predict", run, colours, "-o", tmp_path / "rows.csv")
    assert done.code == 0, done.err
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 37
    done = run_command("report", run)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["extract", "--classifier", "none", "--bags", "3"], "--bags is for a classifier"),
        (["extract", "--bags", "1"], "1 is not in the range 2<=x<=50"),
        (["finetune", "--bags", "51"], "51 is not in the range 2<=x<=50"),
    ],
)
def test_what_is_typed_wrongly(transfer_cli: Command, colours: Path, words: list[str], said: str) -> None:
    done = transfer_cli(words[0], colours, *words[1:])
    assert done.code == 2
    assert said in done.err


def test_a_plan_is_that_of_all_bags(transfer_cli: Command, colours: Path, two_stages: Path, tmp_path: Path) -> None:
    done = transfer_cli("finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, "--bags", "4", "--plan")
    assert done.code == 0, done.err
    assert "this is one of 4 bags: all take about" in done.out
    assert not (tmp_path / "runs").exists()
