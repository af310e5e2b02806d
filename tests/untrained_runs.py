"""Finished runs whose files are written directly, without a training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import COLOURS, save_image
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts

NAMES = tuple(COLOURS)
"""blue, green, red"""
CONFUSION = ((5, 1, 0), (2, 4, 0), (0, 0, 6))
"""Confusion matrix of the test set: true classes in rows, predicted classes in columns."""
_TRAIN_PER_CLASS, _VAL_PER_CLASS = 8, 4


def planted(target: Path, *, missing: Sequence[str] = ()) -> RunDirectory:
    """Write a finished extract run and the folder of its images, without those in `missing`; return the run.

    All validation images are predicted correctly, the test images as in `CONFUSION`, with a confidence of 0.7 to 0.9.
    """
    random = np.random.default_rng(3)
    folder = target / "images"
    split = _write_images(folder, random)
    run = RunDirectory(target / "run")
    run.path.mkdir()
    split.write(run.split)
    truth = split.truth()
    tables = {"val": np.diag([_VAL_PER_CLASS] * 3), "test": np.array(CONFUSION)}
    scored = {part: (np.flatnonzero(split.mask(part)), _probabilities(table, random)) for part, table in tables.items()}
    metrics = score_parts(run, split, scored)
    noise = random.normal(0, 0.1, (len(truth), 16)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array((np.eye(3, 16, dtype=np.float32)[truth] + noise).ravel()), 16)
    pq.write_table(pa.table({"path": [row.path for row in split.rows], "feature": column}), run.features)
    run.recipe.write_text('method = "extract"\n[images]\nsize = 32\n[backbone]\nname = "mobilenet@0.25"\n')
    run.folder.write_text(f"{folder}\n")
    run.command.write_text("transfer-cli extract images -o run\n")
    run.environment.write_text(json.dumps({"python": "3", "versions": {"numpy": "2"}}))
    run.history.write_text("C,log_loss,accuracy,chosen\n0.01,0.9,0.8,no\n0.1,0.6,0.9,yes\n1,0.7,0.9,no\n")
    run.metrics.write_text(json.dumps(metrics))
    for path in missing:
        (folder / path).unlink()
    return run


def _write_images(folder: Path, random: np.random.Generator) -> Split:
    counts = {"train": (_TRAIN_PER_CLASS,) * 3, "val": (_VAL_PER_CLASS,) * 3, "test": tuple(map(sum, CONFUSION))}
    rows = []
    for part, of_part in counts.items():
        for name, count in zip(NAMES, of_part, strict=True):
            for number in range(count):
                path = f"{part}/{name}/{name} {number}.png"
                save_image(folder / path, COLOURS[name], random, side=24 + 4 * number)
                digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
                rows.append(SplitRow(path, digest, (name,), part))
    return Split(tuple(rows), 0, "folders")


def _probabilities(confusion: np.ndarray, random: np.random.Generator) -> np.ndarray:
    predicted = np.concatenate([np.repeat(np.arange(3), row) for row in confusion])
    confidence = random.uniform(0.7, 0.9, len(predicted)).astype(np.float32)
    probabilities = np.repeat((1 - confidence)[:, None] / 2, 3, axis=1)
    probabilities[np.arange(len(predicted)), predicted] = confidence
    return probabilities
