"""The directories below a folder that are runs or rankings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.runs.run_directory import RunDirectory

RUN, RANKING = "run", "ranking"
_PARTS = ("bags", "steps")
"""Folders in a run whose runs are parts of it."""
_MAX_DEPTH = 8


def kind_of(path: Path) -> str | None:
    """Return whether a directory is a run or a ranking, be it unfinished or damaged; None if it is neither."""
    run, ranking = RunDirectory(path), RankingDirectory(path)
    traces = (run.folder, run.model / MANIFEST, run.metrics)
    if (run.recipe.is_file() and any(file.is_file() for file in traces)) or (
        run.split.is_file() and any(file.is_file() for file in traces[1:])
    ):
        return RUN
    is_ranking = ranking.ranking.is_file() or (ranking.settings.is_file() and ranking.candidates.is_dir())
    return RANKING if is_ranking else None


def find_runs(folder: Path, depth_limit: int = _MAX_DEPTH) -> Iterator[Path]:
    """Yield the runs and rankings in a folder, those inside of others too, each once; links are not searched."""
    seen: set[Path] = set()
    waiting = [(folder, 0)]
    while waiting:
        path, depth = waiting.pop()
        if (place := path.resolve()) in seen:
            continue
        seen.add(place)
        kind = kind_of(path)
        if kind is not None:
            yield path
        # What links point to is listed if it is a run, but not searched: links may go in a circle.
        if depth < depth_limit and not (path.is_symlink() and path != folder):
            waiting += [(each, depth + 1) for each in reversed(folders_in(path, kind))]


def nested_runs(path: Path) -> list[Path]:
    """Return the runs inside of a directory which are not parts of it, as bags and the steps of `auto` are."""
    parts = [path / name for name in _PARTS] if kind_of(path) else []
    return [run for run in find_runs(path) if run != path and not any(run.is_relative_to(part) for part in parts)]


def parts_of(path: Path) -> list[Path]:
    """Return the runs that are parts of a run."""
    return [run for name in _PARTS if (path / name).is_dir() for run in find_runs(path / name)]


def folders_in(path: Path, kind: str | None = None) -> list[Path]:
    """Return the folders in a directory that may hold runs, sorted by name."""
    own = {entry.name for entry in _entries(path, kind)} - {*_PARTS}
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return [path / name for name in sorted(names) if name not in own]


def _entries(path: Path, kind: str | None) -> list[Path]:
    """Return the folders that belong to a run or a ranking and hold no runs."""
    run = RunDirectory(path)
    of_run = [run.model, run.checkpoints, run.plots, run.evaluations, run.explanations, run.tensorboard]
    return {RUN: of_run, RANKING: [RankingDirectory(path).candidates]}.get(kind or "", [])
