"""``transfer-cli backbones`` and ``recipes list`` as users run them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from transfer_cli.catalog.backbones import RECOMMENDED, names
from transfer_cli.cli.main import main


def lines_of(*words: str) -> list[str]:
    done = CliRunner().invoke(main, [*words])
    assert done.exit_code == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize("command", ["backbones", "recipes"])
def test_lists_fit_80_columns_and_mark_the_recommended(command: str) -> None:
    lines = lines_of(command, "list")
    assert max(map(len, lines)) <= 80
    assert 3 <= sum(" *" in line for line in lines) <= 6


def test_backbones_list_sorts_by_each_column() -> None:
    data = json.loads(CliRunner().invoke(main, ["--json", "--quiet", "backbones", "list", "--sort", "top-1"]).stdout)
    top1 = [row["top1"] or 0 for row in data]
    assert top1 == sorted(top1, reverse=True)
    assert {row["name"] for row in data if row["recommended"]} == {*RECOMMENDED}
    first = {key: lines_of("backbones", "list", "--sort", key)[1].split()[0] for key in ("size", "multiply-adds")}
    assert first == {"size": "lenet5", "multiply-adds": "pixels"}
    assert sorted(lines_of("backbones", "list", "--sort", "parameters")) == sorted(lines_of("backbones", "list"))


def test_backbones_list_plot_names_all_networks(tmp_path: Path) -> None:
    target = tmp_path / "backbones.png"
    assert CliRunner().invoke(main, ["backbones", "list", "--plot", str(target)]).exit_code == 0
    assert np.asarray(Image.open(target)).std() > 5
    assert CliRunner().invoke(main, ["backbones", "list", "--plot", str(target)]).exit_code == 0
    (tmp_path / "mine.png").write_bytes(b"mine")
    refused = CliRunner().invoke(main, ["backbones", "list", "--plot", str(tmp_path / "mine.png")])
    assert refused.exit_code == 3
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_recommended_backbones_exist() -> None:
    assert {*RECOMMENDED} <= {*names()}


def test_recipes_list_sorts_by_method() -> None:
    heads = [line for line in lines_of("recipes", "list", "--sort", "method") if not line.startswith(" ")]
    methods = [line.split("(")[1].split(")")[0] for line in heads]
    assert methods == sorted(methods)
