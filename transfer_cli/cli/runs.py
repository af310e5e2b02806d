"""``transfer-cli runs``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transfer_cli.cli._completion import complete_models
from transfer_cli.cli._console import Console, pass_console, table_text
from transfer_cli.cli._types import PATH
from transfer_cli.errors import RUNS
from transfer_cli.text import counted, megabytes, shell_command

if TYPE_CHECKING:
    from transfer_cli.manage.removal import Removal
    from transfer_cli.manage.run_summary import RunSummary

_WIDTH = 80
_SORTS = ("date", "name", "method", "backbone", "images", "score", "size")
_HEADER = ("name", "date", "method", "backbone", "images", "test (95 % interval)", "size")
_NUMERIC = ("images", "size")


@click.group("runs", short_help="List, show and remove runs; copy one to MLflow.")
def command() -> None:
    """List, show and remove runs, or copy one to MLflow.

    A run is the folder that a training command writes, by default in runs/.
    """


@command.command("list", short_help="List the runs with their test scores and sizes.")
@click.argument("folder", metavar="[DIR]", required=False, type=PATH)
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="date",
    help="Sort by this column: dates, scores, images and sizes from the highest to the lowest.  [date]",
)
@pass_console
def list_(console: Console, folder: Path | None, sort: str) -> None:
    """List the runs in DIR (runs/ by default) and in its sub-folders.

    Shows the accuracy on the test images (mean average precision with several labels per image) with its 95 %
    interval; val marks a score on validation images, cv the cross-validated score of the best network of a ranking.
    Unfinished and damaged runs are listed, too.

    \b
    Example:
        transfer-cli runs list
        transfer-cli runs list runs --sort score
    """
    from transfer_cli.errors import InputError
    from transfer_cli.manage.find_runs import find_runs
    from transfer_cli.manage.run_summary import RunSummary

    root = folder or RUNS
    if folder is not None and not root.is_dir():
        raise InputError(f"{root} is not a folder. Expected a folder of runs.")
    found = list(find_runs(root)) if root.is_dir() else []
    runs = sorted(map(RunSummary.read, found), key=lambda run: _sort_key(run, sort))
    if not runs and not console.json:
        where = f"in {root}" if root.is_dir() else f"here: {root} does not exist"
        console.note(f"there are no runs {where}", "next: transfer-cli extract YOUR_FOLDER")
        return
    console.result(_listing(runs, root, _terminal_width()), [run.to_dict(root) for run in runs])
    console.warn(*(f"{run.path} is damaged: {run.problem}" for run in runs if run.problem))
    best = next((run for run in runs if run.score), runs[0]) if runs else None
    if best:
        console.note(f"next: transfer-cli runs show {shell_command(best.path)}")


def _sort_key(run: RunSummary, sort: str) -> Any:
    value = run.score["value"] if run.score and run.score["value"] is not None else -1.0
    ranks = {
        "date": -run.date.timestamp(),
        "images": -(run.images or 0),
        "score": (run.part != "test", -value),
        "size": -run.bytes,
        "name": str(run.path),
        "method": run.method,
        "backbone": run.backbone,
    }
    return ranks[sort], str(run.path)


def _listing(runs: Sequence[RunSummary], root: Path, width: int) -> str:
    """Return the table; if it is wider than `width`, each name has a line of its own."""
    names, rows = [run.name(root) for run in runs], [_row(run) for run in runs]
    text = table_text(_HEADER, [(name, *row) for name, row in zip(names, rows, strict=True)], _NUMERIC)
    if max(map(len, text.splitlines())) <= width:
        return text
    # The backbone gives way; names are never cut, so that they can be copied.
    longest = max(len(row[2]) for row in rows)
    for most in range(longest, 4, -1):
        cut = [(*row[:2], row[2] if len(row[2]) <= most else f"{row[2][: most - 1]}…", *row[3:]) for row in rows]
        header, *lines = table_text(_HEADER[1:], cut, _NUMERIC).splitlines()
        if max(map(len, [header, *lines])) + 2 <= width:
            break
    named = [text for name, line in zip(names, lines, strict=True) for text in (name, f"  {line}")]
    return "\n".join([_HEADER[0], f"  {header}", *named])


def _row(run: RunSummary) -> tuple[str, ...]:
    images = "-" if run.images is None else f"{run.images:,}"
    size = f"{run.bytes / 1e3:.0f} kB" if run.bytes < 10**6 else megabytes(run.bytes)
    return f"{run.date:%Y-%m-%d}", run.method or "-", run.backbone or "-", images, _score(run), size


def _score(run: RunSummary) -> str:
    if run.state != "complete" or run.score is None:
        return run.state if run.state != "complete" else "no model" if not run.part else "undefined"
    part = "" if run.part == "test" else f"{run.part} "
    low, high, value = run.score["low"], run.score["high"], run.score["value"]
    if value is None or value != value:
        return f"{part}undefined"
    return f"{part}{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f}-{high:.3f})")


def _terminal_width() -> int:
    return max(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH


@command.command("show", short_help="Show a run: settings, split, scores, files.")
@click.argument("run", type=PATH, shell_complete=complete_models)
@pass_console
def show(console: Console, run: Path) -> None:
    """Show everything about a run: its settings that are not the defaults, split, scores, files, and what to do next.

    RUN is a folder, or a name that `transfer-cli runs list` shows. An unfinished run is shown with the command that
    continues it.

    \b
    Example:
        transfer-cli runs show runs/first
    """
    from transfer_cli.manage.run_details import RunDetails

    details = RunDetails.read(_located(run))
    console.result("\n".join(details.lines()), details.to_dict())
    console.note(*(f"next: {command}" for command in details.next))


@command.command("rm", short_help="Remove runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH, shell_complete=complete_models)
@click.option("--yes", is_flag=True, help="Remove them; without it, only list what would be removed (exit code 2).")
@pass_console
def remove(console: Console, runs: tuple[Path, ...], yes: bool) -> None:
    """Remove runs or rankings with all their files.

    Without --yes nothing is removed: the command lists what would be, and exits with code 2. A folder that is not a
    run, a link, and a run that another process is writing are never removed.

    \b
    Example:
        transfer-cli runs rm runs/first runs/second
        transfer-cli runs rm runs/first runs/second --yes
    """
    from transfer_cli.errors import UnconfirmedError
    from transfer_cli.manage.removal import planned_removals, remove_run

    removals = planned_removals([_located(path) for path in runs])
    console.warn(*(warning for removal in removals for warning in removal.warnings))
    if not yes:
        command = shell_command(*["transfer-cli", "runs", "rm", *map(str, runs), "--yes"])
        lines = "\n".join(f"  {_removal_line(removal)}" for removal in removals)
        total = f"\n  {megabytes(sum(each.bytes for each in removals))} in all" if len(removals) > 1 else ""
        raise UnconfirmedError(f"Nothing was removed. This would be:\n{lines}{total}", hint=f"Remove: {command}")
    for removal in removals:
        remove_run(removal.path)
        console.note(f"removed {_removal_line(removal)}")
    paths = [str(removal.path) for removal in removals]
    console.result("\n".join(paths), {"removed": paths, "bytes": sum(removal.bytes for removal in removals)})


@command.command("export", short_help="Copy a run to MLflow.")
@click.option("--mlflow", "folder", type=PATH, metavar="DIR", required=True, help="Folder of the MLflow store.")
@click.argument("run", type=PATH, shell_complete=complete_models)
@pass_console
def export(console: Console, folder: Path, run: Path) -> None:
    """Copy a run to an MLflow store in DIR: parameters, metrics, the metrics of each epoch, and files.

    The image folder gives the name of the experiment. DIR may be new, or a folder that MLflow uses; a run that it has
    already is not copied again. Needs the extra mlflow: pip install 'transfer-cli[mlflow]'

    \b
    Example:
        transfer-cli runs export --mlflow mlflow runs/first
    """
    from transfer_cli.manage.mlflow_export import export_to_mlflow

    copied = export_to_mlflow(_located(run), folder, console)
    done = "is already in" if copied.existed else "was copied to"
    console.note(
        f"{run} {done} the experiment {copied.experiment} as MLflow run {copied.run_id}",
        f"next: mlflow ui --backend-store-uri {shell_command(copied.store)}",
    )
    console.output(folder, **vars(copied))


def _removal_line(removal: Removal) -> str:
    return f"{removal.path} ({counted(removal.files, 'file')}, {megabytes(removal.bytes)})"


def _located(path: Path) -> Path:
    """Return the path of a run, which may be given by the name that `runs list` shows.

    Raises
    ------
    MissingModelError
        If there is nothing of that name.
    """
    from transfer_cli.manage.run_names import located

    return located(path, RUNS)
