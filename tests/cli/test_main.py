"""The group of commands: errors and interruptions become messages and exit codes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Outcome
from transfer_cli.cli.main import main

NOTHING_LEFT = "No partial files were left; run the same command again."


def interrupt(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("function", "arguments", "hint"),
    [
        (
            "transfer_cli.auto.auto.auto",
            ["auto", "{colours}"],
            "Finished steps are kept; run the same command again to",
        ),
        ("transfer_cli.ranking.rank.rank", ["rank", "{colours}"], "Scores of finished networks are kept; run the same"),
        (
            "transfer_cli.training.finetune.finetune",
            ["finetune", "{colours}"],
            "Finished epochs are kept; run the same",
        ),
        (
            "transfer_cli.training.finetune.finetune",
            ["finetune", "{colours}", "--overwrite"],
            "Finished epochs are kept; run the same command again without --overwrite (which would start over) to",
        ),
        ("transfer_cli.training.planning.plan.plan", ["finetune", "{colours}", "--plan"], NOTHING_LEFT),
        ("transfer_cli.ensembling.bagging.bagged", ["extract", "{colours}", "--bags", "3"], "Finished bags are kept;"),
        (
            "transfer_cli.training.repeats.repeated",
            ["extract", "{colours}", "--repeats", "3"],
            "Finished repeats are kept",
        ),
        ("transfer_cli.training.extract.extract", ["extract", "{colours}"], NOTHING_LEFT),
        ("transfer_cli.training.extract.extract", ["extract", "{colours}", "--overwrite"], NOTHING_LEFT),
    ],
)
def test_interrupted_command_says_what_is_kept(
    function: str, arguments: list[str], hint: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module, name = function.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, interrupt)
    result = CliRunner().invoke(main, [argument.format(colours=colours) for argument in arguments])
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines()[-1].startswith(f"Interrupted. {hint}")


@pytest.mark.parametrize(("typed", "meant"), [("predit", "predict"), ("evalute", "evaluate")])
def test_unknown_command_suggests_nearest(typed: str, meant: str, transfer_cli: Callable[..., Outcome]) -> None:
    result = transfer_cli(typed)
    assert result.code == 2
    assert f"No such command '{typed}'. Did you mean {meant}?" in result.err
