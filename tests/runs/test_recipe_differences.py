"""The phrases about the settings in which two runs differ."""

from __future__ import annotations

import shlex

import click
import pytest

from transfer_cli.cli.main import main
from transfer_cli.runs.recipe_differences import OPTIONS, recipe_differences, typed_differences
from transfer_cli.runs.typed_options import TypedOptions


def typed(command: str) -> TypedOptions:
    return TypedOptions(tuple(shlex.split(f"transfer-cli {command}")))


def test_recipe_differences_lists_every_setting() -> None:
    before = {"method": "finetune", "seed": 0, "stage": [{"epochs": 2, "ema": 0.9, "nesterov": True}]}
    after = {"method": "finetune", "seed": 1, "stage": [{"epochs": 3}], "backbone": {"name": "vgg16"}}
    assert recipe_differences(before, after) == [
        "--backbone is not given there and vgg16 here",
        "--seed is 0 there and 1 here",
        "--set stage.1.ema is 0.9 there and not given here",
        "--set stage.1.epochs is 2 there and 3 here",
        "--set stage.1.nesterov is true there and not given here",
    ]
    assert recipe_differences(before, before) == []


def test_recipe_differences_shows_values_as_they_were_typed() -> None:
    before = {"method": "auto", "seconds": 600.0, "among": ["vgg16"], "download": False}
    after = {"method": "auto", "seconds": 180.0, "among": [], "download": True}
    assert recipe_differences(before, after) == [
        "--among is vgg16 there and not given here",
        "--download is off there and on here",
        "--time-budget is 10m there and 3m here",
    ]
    commands = typed("auto a --time-budget 600s"), typed("auto a --time-budget=3m --download")
    assert recipe_differences(before, after, *commands)[2] == "--time-budget is 600s there and 3m here"


def test_recipe_differences_option_without_a_row_is_named_if_it_was_typed() -> None:
    before, after = {"method": "finetune", "batch_size": 32}, {"method": "finetune", "batch_size": 8}
    assert recipe_differences(before, after) == ["--set batch_size is 32 there and 8 here"]
    commands = typed("finetune a"), typed("finetune a --batch-size 8")
    assert recipe_differences(before, after, *commands) == ["--batch-size is 32 there and 8 here"]


def test_recipe_differences_another_recipe_is_not_listed_setting_by_setting() -> None:
    before = {"method": "finetune", "seed": 0, "batch_size": 32, "stage": [{"epochs": 2}]}
    after = {"method": "finetune", "seed": 1, "batch_size": 8, "stage": [{"epochs": 5}, {"epochs": 5}]}
    commands = typed("finetune a --recipe last-block"), typed("finetune a --seed 1 --set batch_size=8")
    assert recipe_differences(before, after, *commands) == [
        "--recipe is last-block there and not given here",
        "--set batch_size is 32 there and 8 here",
        "--seed is 0 there and 1 here",
    ]
    # The same file with other content: what it sets is listed.
    commands = typed("finetune a --recipe mine.toml"), typed("finetune a --recipe mine.toml")
    assert recipe_differences(before, after, *commands)[-1] == "the recipe has 1 stage there and 2 stages here"


def test_recipe_differences_of_another_method_names_it_only() -> None:
    before, after = {"method": "extract", "seed": 0}, {"method": "finetune"}
    assert recipe_differences(before, after) == ["it is a run of extract"]
    commands = typed("extract a --bags 3"), typed("extract a")
    assert recipe_differences({"method": "ensemble"}, {"method": "extract"}, *commands) == [
        "--bags is 3 there and not given here"
    ]


@pytest.mark.parametrize(
    ("now", "phrase"),
    [
        ([("a", "1"), ("c", "3")], "the members are a, b there and a, c here"),
        ([("a", "1"), ("b", "9")], "b was trained again since"),
    ],
)
def test_recipe_differences_members_of_ensembles(now: list[tuple[str, str]], phrase: str) -> None:
    before, after = (
        {"method": "ensemble", "member": [{"run": run, "digest": digest} for run, digest in members]}
        for members in ([("a", "1"), ("b", "2")], now)
    )
    assert recipe_differences(before, after) == [phrase]


def test_typed_differences_are_unknown_if_a_command_was_not_typed() -> None:
    two_levels = typed("extract a --class-level 2")
    assert typed_differences(("--class-level",), typed("extract a"), two_levels) == [
        "--class-level is not given there and 2 here"
    ]
    assert typed_differences(("--class-level",), TypedOptions(), two_levels) == []


def options_of_commands() -> set[str]:
    context = click.Context(main)
    commands = filter(
        None, (main.get_command(context, name) for name in ("extract", "finetune", "auto", "ensemble", "rank"))
    )
    return {name for command in commands for each in command.params for name in each.opts}


def test_options_of_settings_exist() -> None:
    assert set(OPTIONS.values()) <= options_of_commands()
    assert "--batch-sizes" not in options_of_commands()
