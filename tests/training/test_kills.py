"""Kills at random times during three stages with augmentation, dropout and a refit."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY_WORDS
from tests.finetuning import weights_of

KILLS = 5
THREE_STAGES = """
method = "finetune"

[head]
kind = "linear"
dropout = 0.3

[refit]
when = "always"

[early_stopping]
patience = 0

[[stage]]
unfreeze = "head"
epochs = 8
learning_rate = 1e-2
optimizer = "sgd"

[[stage]]
unfreeze = "from:conv_dw_13"
epochs = 8
learning_rate = 1e-3
optimizer = "adam"
schedule = "one-cycle"
ema = 0.9

[[stage]]
unfreeze = "from:conv_dw_12"
epochs = 8
learning_rate = 1e-3
optimizer = "adamw"
schedule = "cosine"
warmup = 0.1

[augmentation]
rotation_range = 20
zoom_range = 0.1
mixup = 0.2
"""


@pytest.mark.slow
def test_finetune_killed_many_times_ends_with_the_same_weights(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "three.toml").write_text(THREE_STAGES)
    arguments = ["finetune", colours, "--recipe", tmp_path / "three.toml", *TINY_WORDS, "--set", "split.val=0.2"]
    arguments += ["--set", "inference.runtime=keras", "--set", "batch_size=2", "-o"]

    def started(run: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "transfer_cli", "--quiet", *map(str, arguments), str(run)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    begun = time.monotonic()
    assert started(tmp_path / "unbroken").wait() == 0
    seconds = time.monotonic() - begun
    expected = weights_of(tmp_path / "unbroken")
    generator, kills, killed_in, compared = random.Random(0), 0, set(), 0
    while kills < KILLS or not compared:
        process = started(tmp_path / "run")
        try:
            # Most kills hit the training; some hit the start, the end, or a file that is being written.
            ended = process.wait(generator.uniform(0.4, 0.9) * seconds) if kills < KILLS else process.wait()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            history = tmp_path / "run/history.csv"
            killed_in.add(history.read_text().splitlines()[-1].split(",")[1] if history.is_file() else "start")
            continue
        assert ended == 0
        resumed = weights_of(tmp_path / "run")
        assert resumed.keys() == expected.keys()
        for name, weights in expected.items():
            np.testing.assert_array_equal(resumed[name], weights, err_msg=f"{name} after {kills} kills")
        compared += 1
        shutil.rmtree(tmp_path / "run")
    assert len(killed_in) > 1, killed_in
    print(f"{kills} kills, in stages {sorted(killed_in)}; {compared} runs compared")  # noqa: T201
