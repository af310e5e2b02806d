"""Remove runs: what would go, what may not be removed, and which other runs refer to it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.repeats_folder import repeats_in
from transfer_cli.errors import RunError, TransferError
from transfer_cli.io import drafts
from transfer_cli.io.atomic import write_error
from transfer_cli.io.digests import digest_of_file
from transfer_cli.manage.find_runs import RUN, find_runs, kind_of, nested_runs, parts_of
from transfer_cli.manage.run_summary import size_of
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.runs import lock
from transfer_cli.runs.entry import Entry
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import shell_command

_PER_PART = ("predictions_", "confusion_", "curves_")
_NEAR = 3
"""Folders above a run in which its command may have been typed."""


@dataclass(frozen=True)
class Removal:
    """A run that may be removed.

    Attributes
    ----------
    path : Path
    bytes : int
    files : int
    warnings : tuple of str
        Which other runs refer to it, and which of its files this program did not write.
    """

    path: Path
    bytes: int
    files: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, others: Sequence[Path]) -> Removal:
        """Return what removing a run would do; `others` are the runs that may refer to it."""
        files = sum(len(names) for _, _, names in os.walk(path))
        return cls(path, size_of(path), files, (*_foreign_files(path), *_references(path, others)))


def planned_removals(paths: Sequence[Path]) -> list[Removal]:
    """Return what removing some runs would do, each once; nothing is changed.

    Raises
    ------
    RunError
        If a path is not a run, is a link, contains other runs or the current folder, or is being written.
    """
    chosen = [*{path.absolute(): path for path in paths}.values()]
    places = {path.resolve() for path in chosen}
    for path in chosen:
        _check_removable(path, places)
    # A part of a run that is removed as well goes with it.
    outer = [path for path in chosen if not places & {*path.resolve().parents}]
    others = [run for run in _neighbours(chosen) if not _is_below(run, places)]
    return [Removal.of(path, others) for path in outer]


def remove_run(path: Path) -> None:
    """Remove a run that `planned_removals` allows; if the command is interrupted, the next one removes the rest.

    Raises
    ------
    RunError
        If another process has begun to write it.
    OutputError
        If the file system refuses.
    """
    lock.acquire(path)
    draft = path.absolute().with_name(f".{path.absolute().name}.{secrets.token_hex(4)}")
    try:
        drafts.enter(draft)
        # In one step: half of a run would look like a damaged one.
        path.rename(draft)
        drafts.discard(draft)
    except OSError as error:
        raise write_error(error, path) from error
    finally:
        lock.release(path)
        drafts.leave(draft)
    if draft.exists():
        raise RunError(f"{path} could not be removed completely; the rest is in {draft}.", hint=f"Remove {draft}.")


def _check_removable(path: Path, chosen: set[Path]) -> None:
    if path.is_symlink():
        target = path.resolve()
        raise RunError(f"{path} is a link to {target}, which is not removed.", hint=f"Remove the link: rm {path}")
    if not path.is_dir():
        raise RunError(f"{path} is not a run: it is a file.", hint="List the runs: transfer-cli runs list")
    if kind_of(path) is None:
        if first := next(find_runs(path, _NEAR), None):
            names = shell_command(*(repeats_in(path) or [first]))
            raise RunError(
                f"{path} is not a run: it is a folder that contains runs, such as {first}.",
                hint=f"Name the runs to remove: transfer-cli runs rm {names}",
            )
        hint = "List the runs: transfer-cli runs list"
        raise RunError(f"{path} is not a run. Expected a folder that a training command or rank wrote.", hint=hint)
    if inside := [run for run in nested_runs(path) if not _is_below(run, chosen - {path.resolve()})]:
        raise RunError(
            f"{path} contains another run, {inside[0]}, which would be lost.",
            hint=f"Move that run to another place, or remove both: transfer-cli runs rm {path} {inside[0]}",
        )
    if Path.cwd().is_relative_to(path.resolve()):
        raise RunError(f"{path} is the current folder or contains it.", hint="Change to another folder: cd ..")
    for run in (path, *parts_of(path)):
        if lock.is_busy(run):
            raise RunError(f"Another process is writing the run {run}.", hint="Wait until it has ended.")


def _is_below(path: Path, places: set[Path]) -> bool:
    return bool(places & {path.resolve(), *path.resolve().parents})


def _foreign_files(path: Path) -> Iterator[str]:
    """Yield a warning if the directory holds files of the user."""
    entries = [*vars(RunDirectory).values(), *vars(RankingDirectory).values()]
    own = {entry.name for entry in entries if isinstance(entry, Entry)}
    foreign = [
        name
        for name in sorted(os.listdir(path))  # noqa: PTH208
        if name not in own and not name.startswith((".", *_PER_PART))
    ]
    if foreign:
        yield f"{path} also holds {', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}, which is not of the run"


def _neighbours(paths: Sequence[Path]) -> list[Path]:
    """Return the runs that may refer to some runs: those in the same folder, and those in ``runs``."""
    folders = {path.absolute().parent for path in paths} | {Path("runs").absolute()}
    # The bags of a run are beside each other: the run that averages them is above.
    folders |= {folder.parent for folder in folders if kind_of(folder.parent) is not None}
    found = [run for folder in sorted(folders) if folder.is_dir() for run in find_runs(folder)]
    return [*{run.resolve(): run for run in found}.values()]


def _references(path: Path, others: Sequence[Path]) -> Iterator[str]:
    """Yield a warning for each run that was made from this one: as a member, by its split, recipe or weights."""
    place, manifest = path.resolve(), RunDirectory(path).model / MANIFEST
    digest = digest_of_file(manifest).sha256 if manifest.is_file() else None
    for other in others:
        if kind_of(other) != RUN or other.resolve() == place:
            continue
        run = RunDirectory(other)
        if digest is not None and digest in _member_digests(run):
            yield (
                f"{_shown(other)} is an ensemble of {path}: its model has a copy and can be used, but the same "
                "command cannot be run again"
            )
        elif word := _word_inside(place, run):
            yield f"{_shown(other)} was made with {word}: its command cannot be run again"


def _member_digests(run: RunDirectory) -> set[str]:
    try:
        members = run.read_recipe().get("member", ())
    except TransferError:
        return set()
    return {str(member.get("digest")) for member in members if isinstance(member, dict)}


def _word_inside(place: Path, run: RunDirectory) -> str | None:
    """Return the first word of a run's command that is a path in `place`."""
    bases = [Path.cwd(), *run.path.resolve().parents[:_NEAR]]
    for typed in TypedOptions.read(run.command).words[1:]:
        word = typed.partition("=")[2] or typed
        for base in bases if "/" in word or os.sep in word else ():
            target = Path(os.path.normpath(base / word))
            if target.is_relative_to(place) and target != run.path.resolve() and target.exists():
                return word
    return None


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
