"""Shared by the benchmarks: test images, alternating runs, medians, a table and a JSON file."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from transfer_cli.runs.environment import environment


def arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    """Return the command-line options of a benchmark; `defaults` are further ones."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of JPEG photographs, with or without sub-folders")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs")
    parser.add_argument("--json", type=Path, help="also write the values to this file")
    for name, value in defaults.items():
        many = isinstance(value, list)
        kind = type(value[0] if many else value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value, nargs="+" if many else None)
    return parser.parse_args()


def make_images(source: Path, target: Path, count: int, width: int, height: int) -> Path:
    """Write `count` different JPEG files of one size, cropped from the photographs in `source`; return `target`.

    The files are in two sub-folders, as Keras expects.
    """
    photographs = sorted(source.rglob("*.jpg"))
    draw = random.Random(0)
    for number in range(count):
        with Image.open(photographs[number % len(photographs)]) as opened:
            photograph = opened.convert("RGB")
        left, top = draw.uniform(0, 0.2) * photograph.width, draw.uniform(0, 0.2) * photograph.height
        box = (left, top, left + 0.8 * photograph.width, top + 0.8 * photograph.height)
        path = target / "ab"[number % 2] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph.resize((width, height), Image.Resampling.BICUBIC, box).save(path, quality=90)
    return target


def subsample(source: Path, target: Path, counts: Mapping[str, int], draw: int, *, left_over: bool = False) -> Path:
    """Make a folder with fewer training images; return `target`.

    Parameters
    ----------
    source : Path
        With the sub-folders train and test.
    target : Path
    counts : mapping of str to int
        Number of training images per class.
    draw : int
        Seed of the random selection.
    left_over : bool
        Use the unused training images as the test set, so that settings can be selected without the test set.
    """
    for name, count in counts.items():
        images = sorted((source / "train" / name).iterdir())
        random.Random(f"{draw} {name}").shuffle(images)
        tested = images[count:] if left_over else sorted((source / "test" / name).iterdir())
        for part, members in (("train", images[:count]), ("test", tested)):
            (target / part / name).mkdir(parents=True)
            for image in members:
                (target / part / name / image.name).symlink_to(image.resolve())
    return target


def train_and_score(method: str, folder: Path, run: Path, backbone: str, seed: int, overrides: str) -> dict[str, float]:
    """Run a training command and return its test metrics.

    Parameters
    ----------
    method : {"extract", "finetune"}
    folder, run : Path
    backbone : str
    seed : int
    overrides : str
        Recipe settings, ``key=value``, separated by spaces.
    """
    command = [method, str(folder), "--backbone", backbone, "--seed", str(seed), "-o", str(run)]
    for override in overrides.split():
        command += ["--set", override]
    subprocess.run([sys.executable, "-m", "transfer_cli", "--quiet", *command], check=True, capture_output=True)
    test = json.loads((run / "metrics.json").read_text())["test"]
    return {name: metric["value"] for name, metric in test.items()}


def alternate(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each function per round; each round calls all of them once, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def alternate_apart(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Do the same as `alternate` with one process per function, so that process-wide settings do not affect the others.

    The functions must be picklable.
    """
    spawning = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        workers = {name: stack.enter_context(spawning.Pool(1)) for name in ways}
        return alternate({name: partial(workers[name].apply, way) for name, way in ways.items()}, rounds)


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def report(title: str, rows: list[dict[str, Any]], target: Path | None) -> None:
    """Print rows as a Markdown table; also write them as JSON if `target` is given."""
    columns = list(rows[0])
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(_format(row.get(column, '')) for column in columns)} |")
    if target:
        write(title, rows, target)


def write(title: str, rows: list[dict[str, Any]], target: Path) -> None:
    """Write rows as JSON with the machine and the versions."""
    facts = {"benchmark": title, "machine": machine(), "rows": rows}
    target.write_text(json.dumps(facts, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Return the CPU, the number of usable cores and the versions of the packages."""
    return {"processor": _processor(), "usable": len(os.sched_getaffinity(0)), **environment(seed=0, device="CPU")}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if value < 10 else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return str(value)
