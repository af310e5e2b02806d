"""Runs that were never trained: their files are written as a test wants them, in a moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import COLOURS, save_picture
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts

NAMES = tuple(COLOURS)
"""blue, green, red"""
CONFUSION = ((5, 1, 0), (2, 4, 0), (0, 0, 6))
"""What the test pictures of the planted run (rows) are taken for (columns)."""


def planted(
    target: Path, *, confusion: Sequence[Sequence[int]] = CONFUSION, learnt: int = 8, missing: Sequence[str] = ()
) -> RunDirectory:
    """Return a finished extract run beside a folder of its pictures, those of `missing` left out.

    Its val predictions are all right, those of test are as `confusion` says, each said with 70 % or more.
    """
    random = np.random.default_rng(3)
    folder, rows = target / "images", []
    counts = {"train": (learnt,) * 3, "val": (4,) * 3, "test": tuple(map(sum, confusion))}
    for part, of in counts.items():
        for name, count in zip(NAMES, of, strict=True):
            for number in range(count):
                path = f"{part}/{name}/{name} {number}.png"
                save_picture(folder / path, COLOURS[name], random, side=24 + 4 * number)
                digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
                rows.append(SplitRow(path, digest, (name,), part))
    split = Split(tuple(rows), 0, "folders")
    run = RunDirectory(target / "run")
    run.path.mkdir()
    split.write(run.split)
    truth, scored = split.truth(), {}
    for part in ("val", "test"):
        rows_of = np.flatnonzero(split.mask(part))
        table = np.array(confusion) if part == "test" else np.diag(counts[part])
        said = np.concatenate([np.repeat(np.arange(3), row) for row in table])
        sure = random.uniform(0.7, 0.9, len(said)).astype(np.float32)
        given = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
        given[np.arange(len(said)), said] = sure
        scored[part] = (rows_of, given)
    figures = score_parts(run, split, scored)
    features = np.eye(3, 16, dtype=np.float32)[truth] + random.normal(0, 0.1, (len(rows), 16)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 16)
    pq.write_table(pa.table({"path": [row.path for row in rows], "feature": column}), run.features)
    run.recipe.write_text('method = "extract"\n[images]\nsize = 32\n[backbone]\nname = "mobilenet@0.25"\n')
    run.folder.write_text(f"{folder}\n")
    run.command.write_text("transfer-cli extract pictures -o run\n")
    run.environment.write_text(json.dumps({"python": "3", "versions": {"numpy": "2"}}))
    run.history.write_text("C,log_loss,accuracy,chosen\n0.01,0.9,0.8,no\n0.1,0.6,0.9,yes\n1,0.7,0.9,no\n")
    run.metrics.write_text(json.dumps(figures))
    for path in missing:
        (folder / path).unlink()
    return run
