"""The run that a user means by a path or by a name of the list."""

from __future__ import annotations

import os
from pathlib import Path

from transfer_cli.errors import LIST_RUNS, MissingModelError, did_you_mean
from transfer_cli.manage.find_runs import find_runs


def located(path: Path, runs: Path) -> Path:
    """Return `path` if it exists, else the run of that name in the folder `runs`; the suggestion is one of these.

    Raises
    ------
    MissingModelError
        If neither exists.
    """
    for place in (path, runs / path):
        if os.path.lexists(place):
            return place
    folder = path.parent if path.parent.is_dir() and path.parent != Path() else runs
    known = [str(run) for run in find_runs(folder)] if folder.is_dir() else []
    # A name of the list is compared with names, a path with paths.
    near = did_you_mean(str(path), known) or did_you_mean(str(runs / path), known)
    raise MissingModelError(f"There is no run at {path}.{near}", hint=LIST_RUNS)
