"""Peak memory of the whole process: `extract` and `predict` with few and with many images.

export KERAS_HOME=../shared/keras_home
python benchmarks/memory.py ../shared/data/clothing
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring

BACKBONE = ["--backbone", "mobilenet@0.25"]


def main() -> None:
    """Print the peak memory (MB, 10^6 bytes) for both numbers of images, and the ratio."""
    options = measuring.arguments(__doc__, few=1000, many=20000)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        many = measuring.make_images(options.photographs, place / "many", options.many, 500, 375)
        few = part(many, place / "few", options.few)
        for what, classifier in (("none", ["--classifier", "none"]), ("logistic", [])):
            peaks = {
                count: peak(
                    ["extract", folder, *BACKBONE, *classifier, "-o", place / f"{what}-{count}"],
                    place / f"cache-{what}-{count}",
                )
                for count, folder in ((options.few, few), (options.many, many))
            }
            rows.append(row(f"extract, classifier {what}", peaks))
        run = place / f"logistic-{options.few}"
        target = ["-o", place / "predictions.csv"]
        peaks = {
            count: peak(["predict", run, folder, *target], place / "cache")
            for count, folder in ((options.few, few), (options.many, many))
        }
        rows.append(row("predict", peaks))
    measuring.report("peak memory, MB", rows, options.json)


def part(folder: Path, target: Path, count: int) -> Path:
    """Return a folder with the first images of another."""
    for path in sorted(folder.rglob("*.jpg"), key=lambda path: path.name)[:count]:
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        (target / path.parent.name / path.name).hardlink_to(path)
    return target


def row(what: str, peaks: dict[int, float]) -> dict[str, object]:
    """Return a row of the table."""
    (few, low), (many, high) = peaks.items()
    return {"command": what, f"MB at {few} images": low, f"MB at {many} images": high, "ratio": high / low}


def peak(arguments: list[object], cache: Path) -> float:
    """Return the peak resident memory of one command with its own cache, in MB."""
    command = [sys.executable, "-m", "transfer_cli", "--quiet", *map(str, arguments)]
    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(cache)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} ended with status {status}")
    return usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
