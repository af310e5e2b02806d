"""The table of ``--split``: a CSV file, or the split of a run, which may be given as the run itself."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.bundle.repeats_folder import check_single_run
from transfer_cli.errors import MissingModelError
from transfer_cli.runs.run_directory import RunDirectory


def split_table(path: Path) -> Path:
    """Return the CSV file of a split; `path` is that file or a run.

    Raises
    ------
    MissingModelError
        If there is no such run, or it has no split. A CSV file of another name that is missing is left to the reader
        of tables.
    """
    if path.is_file() or (path.suffix.lower() == ".csv" and path.name != RunDirectory(path).split.name):
        return path
    run = RunDirectory(path.parent if path.name == RunDirectory(path).split.name else path)
    if run.split.is_file():
        return run.split
    check_single_run(run.path)
    if not run.path.is_dir():
        raise MissingModelError.of("run", run.path)
    hint = "Give a run, or a CSV file with the columns path and split: --split FILE.csv"
    raise MissingModelError(f"{run.path} is not a run with a split: it has no {run.split.name}.", hint=hint)
