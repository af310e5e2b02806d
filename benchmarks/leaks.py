"""How many planted near-duplicates of training images are found in the test set, and what else is reported.

    python benchmarks/leaks.py FOLDER [--backbone mobilenet@0.25] [--draws 3] [--json FILE]

FOLDER has train and test. In each draw 30 near-duplicates are added to test: six each re-encoded at quality 40, halved,
mirrored, cropped to 90 % or brightened; then 12 more with several of these changes. ``others`` are other pairs
across the splits, to be inspected by eye.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measuring import report
from planting import KINDS, SINGLE, plant_copies

from transfer_cli.audit.duplicates import find_duplicates
from transfer_cli.audit.image_stats import measure_images
from transfer_cli.data.split import Split
from transfer_cli.features import table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for draw in range(options.draws):
        with TemporaryDirectory() as place:
            rows.append(measured(options.folder, Path(place), options.backbone, draw))
    report("leaks", rows, options.json)


def measured(source: Path, place: Path, backbone: str, draw: int) -> dict[str, Any]:
    """Return what was found in one draw."""
    folder, run = place / "folder", place / "run"
    for image in source.rglob("*.*"):
        link = folder / image.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(image.resolve())
    training_images = list((folder / "train").rglob("*.*"))
    single = plant_copies(training_images, folder / "test", 2 * draw, SINGLE, 6)
    several = plant_copies(training_images, folder / "test", 2 * draw + 1, tuple(KINDS)[5:], 4)
    command = ["extract", str(folder), "--backbone", backbone, "--classifier", "none", "-o", str(run)]
    subprocess.run([sys.executable, "-m", "transfer_cli", "--quiet", *command], check=True, capture_output=True)
    paths = [row.path for row in Split.read(run / "split.csv").rows]
    begun = time.perf_counter()
    duplicates = find_duplicates(measure_images(paths, folder), table.read(run / "features.parquet"))
    seconds = time.perf_counter() - begun
    found = {frozenset((pair.path_a, pair.path_b)) for pair in duplicates.pairs}
    across = {pair for pair in found if len({path.split("/")[0] for path in pair}) > 1}

    def wanted(planted: dict[Path, tuple[Path, str]]) -> set[frozenset[str]]:
        pairs = ((copy, origin) for copy, (origin, _) in planted.items())
        return {frozenset(path.relative_to(folder).as_posix() for path in pair) for pair in pairs}

    others = across - wanted(single) - wanted(several)
    for pair in sorted(map(sorted, others)):
        print(" = ".join(pair))
    return {
        "draw": draw,
        "images": len(paths),
        "found of 30": len(wanted(single) & across),
        "of 12 with several": len(wanted(several) & across),
        "others": len(others),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
