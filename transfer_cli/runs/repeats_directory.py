"""The folder of a repeated training: the names in it, what it was made with, and which process may write it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transfer_cli.bundle.repeats_folder import REPEATS_FILE, repeat_name, repeats_in
from transfer_cli.errors import OutputError, RunConflictError, RunError
from transfer_cli.io.atomic import check_writable_folder, remove, write_json, write_text
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs import lock
from transfer_cli.runs.entry import Directory, Entry, reading
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import nan_to_null

_ELSEWHERE = "Choose another place with -o RUN."


@dataclass(frozen=True)
class RepeatsPlan:
    """What a repeated training is made of.

    Attributes
    ----------
    folder : str
        The image folder or CSV file.
    recipe : dict of str to object
        The recipe of the first repeat, as JSON.
    repeats : int
    outdated : tuple of str
        Runs of an earlier command that are still to be replaced or removed (``--overwrite``).
    """

    folder: str
    recipe: Mapping[str, Any]
    repeats: int
    outdated: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, recipe: Recipe, repeats: int) -> RepeatsPlan:
        """Return the plan of repeats whose first one has this recipe."""
        return cls(str(folder.resolve()), recipe.model_dump(mode="json"), repeats)

    def differences(self, earlier: RepeatsPlan, was_typed: TypedOptions, now_typed: TypedOptions) -> list[str]:
        """Return in what an earlier plan differs, one phrase each; more repeats continue it, and are no difference."""
        phrases = recipe_differences(earlier.recipe, self.recipe, was_typed, now_typed)
        if earlier.repeats > self.repeats:
            phrases.append(f"--repeats is {earlier.repeats} there and {self.repeats} here")
        if earlier.folder != self.folder:
            phrases.append(f"the folder is {earlier.folder} there and {self.folder} here")
        return phrases

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        content: dict[str, Any] = nan_to_null(asdict(self))
        return content


@dataclass(frozen=True, init=False)
class RepeatsDirectory(Directory):
    """The folder of a repeated training; its runs are folders in it, named by their seeds."""

    summary = Entry(REPEATS_FILE)  # the settings, and when all runs are complete the spread of their scores
    command = Entry("command.txt")  # the command as it was typed

    def run(self, seed: int) -> RunDirectory:
        """Return the run that is trained with a seed."""
        return RunDirectory(self.path / repeat_name(seed))

    def check_free(self, plan: RepeatsPlan, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Raise an error unless `claim` may write here; nothing is changed.

        Raises
        ------
        RunConflictError
            If it holds the repeats of another training, or something else.
        RunError
            If another process is writing it.
        OutputError
            If it is inside the image folder, or cannot be written.
        """
        if self.path.resolve().is_relative_to(plan.folder):
            inside = f"{self.path} is inside the image folder {plan.folder}. Expected a folder outside of it."
            raise OutputError(inside, hint=_ELSEWHERE)
        if self.path.exists() and not self.path.is_dir():
            file = f"{self.path} is a file. Expected the folder of repeated trainings."
            raise RunConflictError(self.path, ["it is a file"], file, hint=_ELSEWHERE)
        check_writable_folder(self.path)
        lock.check_free(self.path)
        if not self.summary.is_file():
            if self.path.is_dir() and any(path.name != lock.LOCK_FILE for path in self.path.iterdir()):
                foreign = f"{self.path} is not empty and holds no repeats of a training."
                raise RunConflictError(self.path, ["it holds other files"], foreign, hint=_ELSEWHERE)
        elif not overwrite:
            typed = TypedOptions.read(self.command), TypedOptions(command)
            if differences := plan.differences(self.read_plan(), *typed):
                raise self.conflict(differences)

    def conflict(self, differences: Sequence[str]) -> RunConflictError:
        """Return the error of a folder with the repeats of another training."""
        message = f"{self.path} holds the repeats of another training: {'; '.join(differences)}."
        return RunConflictError(self.path, differences, message)

    def claim(self, plan: RepeatsPlan, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Lock the folder for this process and write the plan; with `overwrite` all runs in it become outdated.

        Raises
        ------
        TransferError
            As `check_free`.
        """
        lock.acquire(self.path)
        # Once more: another process may have written it since.
        self.check_free(plan, command=command, overwrite=overwrite)
        outdated = tuple(run.name for run in repeats_in(self.path)) if overwrite else self._outdated()
        write_json(self.summary, replace(plan, outdated=outdated).to_dict())
        write_text(self.command, shlex.join(command) + "\n")

    @contextmanager
    def releasing_lock(self) -> Iterator[None]:
        """Free the lock of `claim` at the end of the block."""
        try:
            yield
        finally:
            lock.release(self.path)

    def is_outdated(self, seed: int) -> bool:
        """Return whether the run of a seed is one that an earlier ``--overwrite`` has still to replace."""
        return repeat_name(seed) in self._outdated()

    def begin_run(self, seed: int) -> None:
        """Note that the run of a seed is about to be written, so that it is continued after an interruption."""
        plan = self.read_plan()
        outdated = tuple(name for name in plan.outdated if name != repeat_name(seed))
        if outdated != plan.outdated:
            write_json(self.summary, replace(plan, outdated=outdated).to_dict())

    def complete(self, plan: RepeatsPlan, results: Mapping[str, Any]) -> None:
        """Write the results beside the plan, unless they are there, and remove the runs that they replace."""
        content = plan.to_dict() | nan_to_null(results)
        if not self.summary.is_file() or self._read() != content:
            for name in self._outdated():
                remove(self.path / name)
            write_json(self.summary, content)

    def read_plan(self) -> RepeatsPlan:
        """Return the plan in repeats.json; raise RunError if it cannot be read."""
        data = self._read()
        try:
            recipe, outdated = dict(data["recipe"]), tuple(map(str, data["outdated"]))
            return RepeatsPlan(str(data["folder"]), recipe, int(data["repeats"]), outdated)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.summary} cannot be read: {error!r}.", hint=_ELSEWHERE) from None

    def _read(self) -> Any:
        with reading(self.summary, _ELSEWHERE):
            return read_json(self.summary)

    def _outdated(self) -> tuple[str, ...]:
        # A name in the file must not lead out of the folder.
        own = {run.name for run in repeats_in(self.path)}
        return tuple(name for name in self.read_plan().outdated if name in own) if self.summary.is_file() else ()
