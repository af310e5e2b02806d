"""The folder of a repeated training: it holds one run per seed, and is not a run itself."""

from __future__ import annotations

import re
from pathlib import Path

from transfer_cli.errors import MissingModelError

REPEATS_FILE = "repeats.json"
_RUN = re.compile(r"seed-(\d+)")


def repeat_name(seed: int) -> str:
    """Return the name of the run that is trained with a seed."""
    return f"seed-{seed}"


def repeats_in(folder: Path) -> list[Path]:
    """Return the runs in the folder of a repeated training, by seed; none if it is another folder."""
    if not (folder / REPEATS_FILE).is_file():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _RUN.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def is_repeat(run: Path) -> bool:
    """Return whether a run is one of the repeats in the folder above it."""
    return _RUN.fullmatch(run.name) is not None and (run.parent / REPEATS_FILE).is_file()


def check_single_run(path: Path) -> None:
    """Raise MissingModelError if a path that should be one run is the folder of a repeated training."""
    if not (path / REPEATS_FILE).is_file():
        return
    names = [run.name for run in repeats_in(path)]
    hint = f"Choose one of its runs, such as {path / names[0]}." if names else None
    raise MissingModelError(
        f"{path} is not a single run: it holds the repeats of a training ({', '.join(names) or 'none so far'}).",
        hint=hint,
    )
