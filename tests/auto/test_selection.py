"""Which model val likes best, by planted tables of what each said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.auto.selection import best_single, gain_of, or_ensemble
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.io.csv_tables import write_table
from transfer_cli.runs.run_directory import RunDirectory

COUNT = 60
TRUTH = np.arange(COUNT) % 2


def planted(place: Path, of_truth: NDArray[np.float64]) -> RunDirectory:
    """Return a run that gave the true class of each picture of val some probability."""
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
    write_table(run.predictions("val"), ("path", "class", "label", "confidence", "p_cat", "p_dog"), table)
    return run


def better_by(good: NDArray[np.float64], errors: float) -> NDArray[np.float64]:
    """Return other probabilities whose log loss is lower by some standard errors of the difference."""
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
        "weak": planted(tmp_path / "weak", weak),
        "good": planted(tmp_path / "good", good),
        "sure": planted(tmp_path / "sure", good + (1 - good) / 3),
        "alike": planted(tmp_path / "alike", np.clip(good + random.normal(0.04, 0.15, COUNT), 0.05, 0.99)),
        "chance": planted(tmp_path / "chance", better_by(good, 0.4)),
        "worse": planted(tmp_path / "worse", good - 0.2),
    }


def test_the_lowest_log_loss_is_taken_whatever_its_place(runs: dict[str, RunDirectory]) -> None:
    for order in (("weak", "good"), ("good", "weak")):
        choice = best_single({name: runs[name] for name in order})
        assert choice.single == "good"
        assert not choice.takes_ensemble
        assert choice.images == COUNT
        assert f"60 pictures of val: good has the lowest log loss, {choice.losses['good']:.3f}: it" in choice.summary()


@pytest.mark.parametrize(
    ("ensemble", "is_taken"), [("sure", True), ("alike", True), ("chance", False), ("worse", False)]
)
def test_an_ensemble_is_taken_only_where_val_says_that_it_is_better(
    ensemble: str, is_taken: bool, runs: dict[str, RunDirectory]
) -> None:
    choice = best_single({"weak": runs["weak"], "good": runs["good"]})
    choice = or_ensemble(choice, runs["good"], runs[ensemble], seed=0)
    assert choice.gain is not None
    assert choice.gain["low"] is not None
    assert choice.gain["high"] is not None
    assert choice.takes_ensemble == is_taken
    assert choice.summary().endswith("the ensemble is taken" if is_taken else "good is taken")
    standard_error = (choice.gain["high"] - choice.gain["low"]) / 3.92
    if ensemble == "alike":
        # Beyond one standard error is enough where the 95 % interval is not beyond 0.
        assert choice.gain["value"] < -standard_error < 0 < choice.gain["high"]
    if ensemble == "chance":
        # Lower by itself is not.
        assert -standard_error < choice.gain["value"] < 0
    if ensemble == "worse":
        assert choice.gain["low"] > 0


def test_a_gain_is_what_one_has_less_than_the_other(runs: dict[str, RunDirectory]) -> None:
    losses = best_single(runs).losses
    for one, other in (("weak", "good"), ("sure", "good"), ("worse", "weak")):
        there, images = gain_of(runs[one], runs[other], seed=0)
        back, _ = gain_of(runs[other], runs[one], seed=0)
        assert images == COUNT
        assert there["value"] == pytest.approx(losses[one] - losses[other], abs=1e-5)
        assert back["value"] == pytest.approx(-there["value"])
        assert there["low"] is not None
        assert back["high"] is not None
        assert there["low"] < there["value"] < -(back["low"] or 0.0)
        assert there["low"] == pytest.approx(-back["high"], abs=1e-6)
