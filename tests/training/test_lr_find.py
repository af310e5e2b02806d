"""The range test suggests a rate at which something is learnt, says so where nothing is, and leaves test alone."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_finetune import call
from tests.conftest import FINETUNE_WORDS, save_picture
from tests.finetuning import WORDS
from transfer_cli import FinetuneRecipe, ImageFolder
from transfer_cli.errors import InputError, RecipeError
from transfer_cli.training import lr_find as module
from transfer_cli.training.lr_find import Sweep, lr_find, read_sweep, smooth

FROM_SCRATCH = ("head.start=random", "stage.1.unfreeze=from:conv_dw_13", "batch_size=8")


def sweep_of(folder: Path, target: Path, *overrides: str, **options: Any) -> Sweep:
    recipe = FinetuneRecipe.load(None, [*FROM_SCRATCH, *overrides], WORDS)
    return lr_find(ImageFolder.scan(folder), recipe, target, **options)


def test_the_suggestion_is_a_rate_that_learns(colours: Path, tmp_path: Path) -> None:
    found = sweep_of(colours, tmp_path / "lr.png")
    assert found.suggestion is not None
    assert found.steepest is not None
    assert 1e-5 < found.suggestion < 1e-1
    assert found.lowest < 0.8 * found.start
    assert found.rates[0] == pytest.approx(1e-7)
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(1e8) / 99)
    assert [path.name for path in tmp_path.iterdir()] == ["lr.png"]


def test_rates_too_low_suggest_nothing(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Nothing was learnt at any rate from 1e-09 to 1e-07"):
        sweep_of(colours, tmp_path / "lr.png", lowest=1e-9, highest=1e-7)
    assert (tmp_path / "lr.png").is_file()


def test_permuted_labels_have_little_to_be_learnt(colours: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    names = ["blue", "green", "red"]
    for number, path in enumerate(sorted(colours.rglob("*.png"))):
        target = mixed / names[number % 3] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    real = sweep_of(colours, tmp_path / "real.png")
    try:
        permuted = sweep_of(mixed, tmp_path / "permuted.png")
    except InputError:
        return
    assert permuted.lowest / permuted.start > 0.5 + 0.5 * real.lowest / real.start


def test_what_a_curve_says() -> None:
    rates = [10 ** (-7 + 8 * step / 99) for step in range(100)]
    # Falls between 1e-4 and 1e-2, and is lost from 1 on; every fourth batch is hard.
    hard = [2.0 + 0.5 * (step % 4 == 0) for step in range(100)]
    fall = [-1.5 * min(max(math.log10(rate) + 4, 0), 2) / 2 + 20 * max(math.log10(rate), 0) for rate in rates]
    found = read_sweep(rates, np.add(hard, fall).tolist(), hard)
    assert found.start == pytest.approx(2.125, abs=0.01)
    assert 1e-4 < (found.steepest or 0) < 1e-1
    lowest = found.rates[int(np.argmin(found.smoothed))]
    assert 1e-2 < lowest < 2
    assert found.suggestion == pytest.approx(lowest / 10)
    assert read_sweep(rates, np.add(hard, fall).tolist(), hard, 2.0).suggestion == pytest.approx(lowest / 2)
    flat = read_sweep(rates, hard, hard)
    assert (flat.steepest, flat.suggestion, flat.ended) == (None, None, "highest rate")
    lost = read_sweep(rates[:61], [*np.add(hard, fall).tolist()[:60], math.nan], hard)
    assert (lost.ended, len(lost.rates)) == ("not finite", 60)
    assert read_sweep(rates[:1], [math.nan], hard[:1]).suggestion is None


def test_smoothing_has_no_beginning_at_zero() -> None:
    assert smooth([3.0] * 50) == pytest.approx([3.0] * 50)
    assert smooth([4.0, 0.0])[1] == pytest.approx(4 * 0.8 / 1.8)


def test_a_loss_that_is_lost_ends_the_sweep(colours: Path, tmp_path: Path) -> None:
    words = ("stage.1.optimizer=sgd", "stage.1.unfreeze=from:conv_dw_13")
    found = sweep_of(colours, tmp_path / "lr.png", *words, highest=1e6)
    assert found.ended in ("diverged", "not finite")
    assert len(found.rates) < module.STEPS


def test_test_pictures_are_not_decoded(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    random = np.random.default_rng(1)
    for part in ("train", "val", "test"):
        for name, colour in (("blue", (30, 40, 200)), ("red", (210, 30, 30))):
            for number in range(6):
                save_picture(mine / part / name / f"{number}.png", colour, random)
    from transfer_cli.data import decoding

    decoded: list[bytes] = []
    real = decoding._seen
    monkeypatch.setattr(decoding, "_seen", lambda data, *others: decoded.append(data) or real(data, *others))
    with suppress(InputError):  # twelve pictures in ten steps may teach nothing
        sweep_of(mine, tmp_path / "lr.png", steps=10)
    train = {path.read_bytes() for path in (mine / "train").rglob("*.png")}
    assert set(decoded) == train
    assert len(train) == 12


def test_the_command(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [colours, *FINETUNE_WORDS, "--runtime", "keras", "--set", "head.start=random", "--set", "batch_size=8"]
    code, out, err = call("lr-find", *words)
    assert code == 0, err
    rate = float(out)
    assert 1e-5 < rate < 1
    assert f"--set stage.1.learning_rate={out.strip()}" in err.splitlines()[-1]
    assert "swept: stage 1 of 1 (unfreeze last:50%), from the pretrained network and a random head" in err
    assert sorted(str(path) for path in Path().rglob("*")) == ["plots", "plots/colours-lr.png"]
    code, out, _ = call("--json", "--quiet", "lr-find", *words, "--steps", "20", "--lowest", "1e-4")
    assert code == 0
    assert {"suggestion", "steepest", "smoothed"} < json.loads(out).keys()


def test_what_cannot_be_swept(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"There is no stage 2. The recipe has 1"):
        sweep_of(colours, tmp_path / "lr.png", stage=2)
    with pytest.raises(InputError, match="Expected rates above 0, the lowest first"):
        sweep_of(colours, tmp_path / "lr.png", lowest=1.0, highest=0.1)
    save_picture(tmp_path / "mine.png", (1, 2, 3), np.random.default_rng(1))
    code, _, err = call("lr-find", colours, "-o", tmp_path / "mine.png")
    assert code == 3
    assert "is a picture, and would be lost" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
