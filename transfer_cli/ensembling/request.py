"""The options of `ensemble` that are not part of its recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transfer_cli.arguments import StrPath, as_path, check_type
from transfer_cli.io.cache import Cache
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class EnsembleRequest:
    """The runs to combine, the run to write, and options.

    Attributes
    ----------
    members : sequence of path
        Two or more finished runs with the same classes and the same split.
    run : RunDirectory
        The run to write. A complete run of the same members and settings is returned as it is.
    overwrite : bool
        Replace an earlier run.
    min_accuracy : float, optional
        Raise GateError, and write no model, if the accuracy on test (on val if there is no test set) is lower.
    images : Path, optional
        The image folder, if it was moved since the members were trained; only a soup reads images.
    command : sequence of str
        The command as it was typed, written to command.txt.
    cache : Cache
        The cache of converted networks. Default: the user's.
    progress : Progress
    """

    members: Sequence[StrPath]
    run: RunDirectory
    overwrite: bool = False
    min_accuracy: float | None = None
    images: Path | None = None
    command: Sequence[str] = ()
    cache: Cache = field(default_factory=Cache.of_user)
    progress: Progress = SILENT

    def __post_init__(self) -> None:
        check_type(self.run, RunDirectory, "run as RunDirectory: RunDirectory(PATH)")
        if isinstance(self.members, str | os.PathLike):
            raise TypeError(f"Expected members as a sequence of runs. Received: one path, {os.fspath(self.members)!r}.")

    @property
    def member_paths(self) -> tuple[Path, ...]:
        """The runs to combine."""
        return tuple(as_path(member, "each run") for member in self.members)
