"""Time of a second `extract` of the same images into a new run: whole commands, with an empty and with a warm cache.

export KERAS_HOME=../shared/keras_home
python benchmarks/cache.py ../shared/data/clothing
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring


def main() -> None:
    """Print the seconds of both, and of a folder with 1 % new images."""
    options = measuring.arguments(
        __doc__, backbones=["mobilenet_v2@0.35"], count=5000, classifiers=["none", "logistic"]
    )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folder = measuring.make_images(options.photographs, place / "images", options.count, 500, 375)
        new = measuring.make_images(options.photographs, place / "new", options.count // 100, 480, 360)
        more = place / "more"
        shutil.copytree(folder, more)
        for path in new.rglob("*.jpg"):
            shutil.copy(path, more / path.parent.name / f"new-{path.name}")
        for backbone in options.backbones:
            for classifier in options.classifiers:
                options_of_run = ["--backbone", backbone, "--classifier", classifier]
                if backbone not in ("mobilenet@0.25", "mobilenet_v2@0.35"):
                    options_of_run += ["--weights", "none"]

                def command(folder: Path, *, clear: bool, extra: list[str] = options_of_run) -> None:
                    if clear:
                        shutil.rmtree(place / "cache", ignore_errors=True)
                    shutil.rmtree(place / "run", ignore_errors=True)
                    run = ["extract", str(folder), *extra, "-o", str(place / "run")]
                    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(place / "cache")}
                    call = [sys.executable, "-m", "transfer_cli", "--quiet", *run]
                    subprocess.run(
                        call, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    )

                ways = {
                    "cleared": lambda: command(folder, clear=True),
                    "warm": lambda: command(folder, clear=False),
                    "1 % new": lambda: command(more, clear=False),
                }
                seconds = {
                    way: measuring.median(values) for way, values in measuring.alternate(ways, options.rounds).items()
                }
                rows.append(
                    {
                        "backbone": backbone,
                        "classifier": classifier,
                        "images": options.count,
                        **{f"{way}, s": value for way, value in seconds.items()},
                        "cleared to warm": seconds["cleared"] / seconds["warm"],
                    }
                )
    measuring.report("extract with a warm cache", rows, options.json)


if __name__ == "__main__":
    main()
