"""The command that is kept in a run says the same as the call."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from transfer_cli.cli import auto, extract, finetune
from transfer_cli.equivalent_command import equivalent_command


def test_each_kind_of_option() -> None:
    keywords = {
        "output": Path("runs/x"),
        "seed": 0,
        "tune": False,
        "overwrite": True,
        "strict": False,
        "layer": None,
        "set": {"batch_size": 16, "classifier.tune": True},
        "among": ["mobilenet*", "resnet50"],
    }
    assert equivalent_command("extract", ["photos"], keywords) == [
        *("transfer-cli", "extract", "photos", "--output", str(Path("runs/x")), "--seed", "0", "--no-tune"),
        *("--overwrite", "--set", "batch_size=16", "--set", "classifier.tune=true", "--among", "mobilenet*,resnet50"),
    ]
    assert equivalent_command("finetune", ["a"], {"time_budget": 90})[-2:] == ["--time-budget", "1m30s"]
    assert equivalent_command("extract", ["a"], {"set": "seed=1"})[-1] == "seed=1"
    assert equivalent_command("extract", ["a"], {"set": ["seed=1", "bag=2"]})[-3:] == ["seed=1", "--set", "bag=2"]


@pytest.mark.parametrize(
    ("command", "keywords"),
    [
        (extract.command, {"backbone": "embedded", "tune": True, "bags": 3, "set": {"a": 1}, "class_level": "last"}),
        (finetune.command, {"time_budget": "10m", "precision": "float32", "min_accuracy": 0.5, "tensorboard": True}),
        (auto.command, {"among": ["embedded"], "download": True, "time_budget": "1h", "cache_limit": "1GB"}),
    ],
)
def test_command_line_reads_it(command: click.Command, keywords: dict[str, object]) -> None:
    assert command.name is not None
    words = equivalent_command(command.name, ["photos"], keywords)[2:]
    read = command.make_context(command.name, words).params
    assert str(read["folder"]) == "photos"
    for name, value in keywords.items():
        if name not in ("set", "time_budget", "among"):
            assert read[name] == value
