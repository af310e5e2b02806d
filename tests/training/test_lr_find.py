"""The learning rate range test: it suggests a rate that trains, or raises, and does not read test images."""

from __future__ import annotations

import json
import math
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.test_finetune import call
from tests.conftest import FINETUNE_WORDS, save_image
from tests.finetuning import WORDS
from transfer_cli import FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.errors import InputError, RecipeError
from transfer_cli.training import lr_find as module
from transfer_cli.training.lr_find import lr_find
from transfer_cli.training.sweep import Sweep

pytestmark = pytest.mark.integration

FROM_SCRATCH = ("head.start=random", "stage.1.unfreeze=from:conv_dw_13", "batch_size=8")


def sweep_of(folder: Path, target: Path, *overrides: str, **options: Any) -> Sweep:
    recipe = FinetuneRecipe.load(None, [*FROM_SCRATCH, *overrides], WORDS)
    return lr_find(TrainingRequest(ImageFolder.scan(folder), RunDirectory(target)), recipe, target, **options)


def test_lr_find_suggests_a_rate_that_trains(colours: Path, tmp_path: Path) -> None:
    sweep = sweep_of(colours, tmp_path / "lr.png")
    assert sweep.suggestion is not None
    assert sweep.steepest is not None
    assert 1e-5 < sweep.suggestion < 1e-1
    assert sweep.lowest < 0.8 * sweep.start
    assert sweep.rates[0] == pytest.approx(1e-7)
    assert np.diff(np.log(sweep.rates)) == pytest.approx(math.log(1e8) / 99)
    assert [path.name for path in tmp_path.iterdir()] == ["lr.png"]


def test_seeds_summary_is_a_factor() -> None:
    sweep = Sweep((), (), (), "highest rate", 0.1, 0.004, 1.0, 0.5, 0.01)
    assert str(sweep.seeds_summary()).startswith("with another seed the suggestion is 0.01, a factor of 2.5 apart")
    assert replace(sweep, with_other_seed=None).seeds_summary() is None


def test_lr_find_with_too_low_rates_raises(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The loss does not decrease at any learning rate from 1e-09 to 1e-07"):
        sweep_of(colours, tmp_path / "lr.png", lowest=1e-9, highest=1e-7)
    assert (tmp_path / "lr.png").is_file()


def test_lr_find_permuted_labels_decrease_the_loss_less(colours: Path, tmp_path: Path) -> None:
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


def test_lr_find_ends_when_the_loss_diverges(colours: Path, tmp_path: Path) -> None:
    words = ("stage.1.optimizer=sgd", "stage.1.unfreeze=from:conv_dw_13")
    sweep = sweep_of(colours, tmp_path / "lr.png", *words, highest=1e6)
    assert sweep.ended in ("diverged", "not finite")
    assert len(sweep.rates) < module.STEPS


def test_lr_find_decodes_training_images_only(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    random = np.random.default_rng(1)
    for part in ("train", "val", "test"):
        for name, colour in (("blue", (30, 40, 200)), ("red", (210, 30, 30))):
            for number in range(6):
                save_image(mine / part / name / f"{number}.png", colour, random)
    from transfer_cli.data import decoding

    decoded: list[bytes] = []
    real = decoding.decode_views
    monkeypatch.setattr(decoding, "decode_views", lambda data, *others: decoded.append(data) or real(data, *others))
    with suppress(InputError):  # ten steps on twelve images may not decrease the loss
        sweep_of(mine, tmp_path / "lr.png", steps=10)
    train = {path.read_bytes() for path in (mine / "train").rglob("*.png")}
    assert set(decoded) == train
    assert len(train) == 12


def test_lr_find_command_prints_the_rate_and_writes_the_plot(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [colours, *FINETUNE_WORDS, "--runtime", "keras", "--set", "head.start=random", "--set", "batch_size=8"]
    code, out, err = call("lr-find", *words)
    assert code == 0, err
    rate = float(out)
    assert 1e-5 < rate < 1
    assert err.splitlines()[-1].endswith(f" --lr {out.strip()}")
    assert "stage 1 of 1 (unfreeze last:50%): " in err
    assert re.search(r"with another seed the suggestion is \S+, a factor of \d", err)
    assert sorted(str(path) for path in Path().rglob("*")) == ["plots", "plots/colours-lr.png"]
    code, out, _ = call("--json", "--quiet", "lr-find", *words, "--steps", "20", "--lowest", "1e-4")
    assert code == 0
    assert {"suggestion", "with_other_seed", "steepest", "smoothed"} < json.loads(out).keys()


def test_lr_find_invalid_arguments_raise(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"The recipe has no stage 2. Expected 1 to 1"):
        sweep_of(colours, tmp_path / "lr.png", stage=2)
    with pytest.raises(InputError, match="Expected learning rates above 0, and the lowest below the highest"):
        sweep_of(colours, tmp_path / "lr.png", lowest=1.0, highest=0.1)
    save_image(tmp_path / "mine.png", (1, 2, 3), np.random.default_rng(1))
    code, _, err = call("lr-find", colours, "-o", tmp_path / "mine.png")
    assert code == 3
    assert "is an image and would be lost" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
