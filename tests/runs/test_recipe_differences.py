"""The phrases about the settings in which two recipes differ."""

from __future__ import annotations

from transfer_cli.runs.recipe_differences import recipe_differences


def test_recipe_differences_lists_every_setting() -> None:
    before = {"method": "finetune", "seed": 0, "stage": [{"epochs": 2, "ema": 0.9}]}
    after = {"method": "finetune", "seed": 1, "stage": [{"epochs": 3}]}
    assert recipe_differences(before, after) == [
        "seed is 0 there and 1 here",
        "stage.1.ema is 0.9 there and not set here",
        "stage.1.epochs is 2 there and 3 here",
    ]
    assert recipe_differences(before, before) == []


def test_recipe_differences_of_another_method_names_it_only() -> None:
    assert recipe_differences({"method": "extract", "seed": 0}, {"method": "finetune"}) == ["it is a run of extract"]
