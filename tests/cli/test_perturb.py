"""``transfer-cli evaluate --perturb`` as users run it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from transfer_cli.catalog.perturbations import PERTURBATIONS, VARIANTS
from transfer_cli.cli.main import main

pytestmark = pytest.mark.integration


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_evaluate_perturb_writes_table_and_plot(copy_of_trained: Path, colours: Path) -> None:
    place = copy_of_trained / "evaluations/colours-perturb"
    contents = []
    for arguments in (["--json"], []):
        result = evaluate(copy_of_trained, colours, "--perturb", *arguments)
        assert result.exit_code == 0, result.stderr
        contents.append([(place / f"perturbations.{suffix}").read_bytes() for suffix in ("csv", "png")])
        if arguments:
            robustness = json.loads(result.stdout)["robustness"]
        else:
            lines = result.stderr.splitlines()
    assert contents[0] == contents[1]
    assert "29 passes per image: as it is, and under each perturbation" in lines
    shown = [line.split()[0] for line in lines if line.split()[0] in {row.name for row in PERTURBATIONS}]
    assert shown == [row.name for row in PERTURBATIONS]
    assert f"plot: {place}/perturbations.png" in lines
    with (place / "perturbations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(robustness["rows"]) == len(VARIANTS)
    for row, each in zip(rows, robustness["rows"], strict=True):
        assert (row["perturbation"], float(row["strength"])) == (each["perturbation"], each["strength"])
        assert float(row["accuracy"]) == round(each["accuracy"]["value"], 6)
        drop = each["accuracy"]["value"] - robustness["accuracy"]["value"]
        assert abs(each["difference"]["value"] - drop) < 1e-6
    dark = robustness["rows"][[row.name for row, _ in VARIANTS].index("darkness") + 3]
    assert dark["difference"]["value"] < -0.2
    with Image.open(place / "perturbations.png") as image:
        assert image.size == (1300, 600)
    # Without --perturb it is another evaluation, which does not replace this one.
    other = evaluate(copy_of_trained, colours, "-o", place)
    assert (other.exit_code, other.stdout) == (3, "")
    assert f"{place} holds an evaluation with --perturb." in other.stderr
    both = evaluate(copy_of_trained, colours, "--perturb", "--tta", "flip")
    assert (both.exit_code, "--tta and --perturb cannot be combined" in both.stderr) == (2, True)
