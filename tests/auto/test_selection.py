"""Select a model on val, with synthetic prediction tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.auto.selection import choose
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.io.csv_tables import write_table
from transfer_cli.runs.run_directory import RunDirectory

COUNT = 60
TRUTH = np.arange(COUNT) % 2


def write_run(place: Path, of_truth: NDArray[np.float64]) -> RunDirectory:
    """Write a run that assigns the given probability to the true class of each validation image."""
    run = RunDirectory(place)
    place.mkdir()
    run.folder.write_text("/photos\n")
    names = ("cat", "dog")
    paths = [f"{names[column]}/{number}.jpg" for number, column in enumerate(TRUTH)]
    rows = [SplitRow(path, f"{n:064x}", (names[TRUTH[n]],), "val") for n, path in enumerate(paths)]
    Split(tuple(rows), 0, "digest").write(run.split)
    table = []
    for path, column, p in zip(paths, TRUTH, of_truth, strict=True):
        both = (p, 1 - p) if column == 0 else (1 - p, p)
        best = int(both[1] > both[0])
        table.append((path, names[column], names[best], f"{both[best]:.6f}", f"{both[0]:.6f}", f"{both[1]:.6f}"))
    write_table(run.predictions("val"), ("path", "true_label", "label", "confidence", "p_cat", "p_dog"), table)
    return run


def better_by(good: NDArray[np.float64], errors: float) -> NDArray[np.float64]:
    """Return other probabilities whose log loss is lower by `errors` standard errors of the difference."""
    noise = np.random.default_rng(5).normal(0, 0.15, COUNT)
    for shift in np.linspace(0, 0.2, 401):
        other = np.clip(good + noise + shift, 0.05, 0.99)
        difference = np.log(good) - np.log(other)
        if difference.mean() < -errors * difference.std(ddof=1) / COUNT**0.5:
            return np.asarray(other)
    raise AssertionError("no such probabilities")


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, RunDirectory]:
    random = np.random.default_rng(3)
    weak = random.uniform(0.2, 0.9, COUNT)
    good = random.uniform(0.4, 0.95, COUNT)
    return {
        "weak": write_run(tmp_path / "weak", weak),
        "good": write_run(tmp_path / "good", good),
        "sure": write_run(tmp_path / "sure", good + (1 - good) / 3),
        "alike": write_run(tmp_path / "alike", np.clip(good + random.normal(0.04, 0.15, COUNT), 0.05, 0.99)),
        "noise": write_run(tmp_path / "noise", better_by(good, 0.4)),
        "worse": write_run(tmp_path / "worse", good - 0.2),
    }


def test_choose_selects_the_single_model_with_the_lowest_log_loss_in_any_order(runs: dict[str, RunDirectory]) -> None:
    for order in (("weak", "good"), ("good", "weak")):
        choice = choose({name: runs[name] for name in order})
        assert choice.single == "good"
        assert not choice.uses_ensemble
        assert choice.images == COUNT
        assert (
            choice.summary() == f"selected good: lowest log loss ({choice.losses['good']:.3f}) on 60 validation images"
        )


@pytest.mark.parametrize(
    ("ensemble", "is_selected"), [("sure", True), ("alike", True), ("noise", False), ("worse", False)]
)
def test_choose_selects_the_ensemble_only_if_better_by_one_standard_error(
    ensemble: str, is_selected: bool, runs: dict[str, RunDirectory]
) -> None:
    choice = choose({"weak": runs["weak"], "good": runs["good"]}, runs[ensemble])
    assert choice.gain is not None
    assert choice.gain["low"] is not None
    assert choice.gain["high"] is not None
    assert choice.uses_ensemble == is_selected
    assert choice.summary().startswith("selected the ensemble:" if is_selected else "selected good:")
    standard_error = (choice.gain["high"] - choice.gain["low"]) / 3.92
    if ensemble == "alike":
        # One standard error is enough, even if the 95 % interval contains 0.
        assert choice.gain["value"] < -standard_error < 0 < choice.gain["high"]
    if ensemble == "noise":
        # A lower log loss alone is not enough.
        assert -standard_error < choice.gain["value"] < 0
    if ensemble == "worse":
        assert choice.gain["low"] > 0


def test_choose_gain_is_antisymmetric(runs: dict[str, RunDirectory]) -> None:
    losses = choose(runs).losses
    for one, other in (("weak", "good"), ("sure", "good"), ("worse", "weak")):
        choice = choose({other: runs[other]}, runs[one])
        there, back = choice.gain, choose({one: runs[one]}, runs[other]).gain
        assert there is not None
        assert back is not None
        assert choice.images == COUNT
        assert there["value"] == pytest.approx(losses[one] - losses[other], abs=1e-5)
        assert back["value"] == pytest.approx(-there["value"])
        assert there["low"] is not None
        assert back["high"] is not None
        assert there["low"] < there["value"] < -(back["low"] or 0.0)
        assert there["low"] == pytest.approx(-back["high"], abs=1e-6)
