"""The errors of transfer-cli, each with the exit code of the command that raises it.

A message tells what happened, what was expected and what was received; `hint` tells what to type next.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

_NO_MEMORY = (
    *("insufficient memory", "out of memory", "can't start new thread"),
    *("cannot allocate memory", "failed to map segment", "std::bad_alloc"),
)
DONE = 0
BUG = 1
DONE_WITH_SKIPPED = 5


class TransferError(Exception):
    """Base class of all errors that are not bugs.

    Parameters
    ----------
    message : str
        What happened, what was expected, what was received.
    hint : str, optional
        What to do or to type next.
    """

    exit_code = BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UnknownNameError(TransferError):
    """A name (backbone, recipe, format ...) that does not exist."""

    exit_code = 2

    @classmethod
    def of(cls, kind: str, received: str, known: Iterable[str], hint: str) -> UnknownNameError:
        """Return the error for the name `received`; it suggests the nearest name of `known`."""
        return cls(f"There is no {kind} called {received!r}.{did_you_mean(received, known)}", hint=hint)


class UnconfirmedError(TransferError):
    """Something would be removed, and the command does not say yes to it."""

    exit_code = 2


class OptionError(TransferError):
    """Options that contradict each other or do not fit the model."""

    exit_code = 2


class InputError(TransferError):
    """A folder, image, table or recipe that cannot be used."""

    exit_code = 3


class FolderError(InputError):
    """A folder without usable images."""


class ImageError(InputError):
    """An unreadable image, with ``--strict``."""


class SplitError(InputError):
    """A train/val/test split that cannot be read or used."""


class RecipeError(InputError):
    """An invalid recipe; the message lists all its errors."""


class RunError(InputError):
    """A folder that is not the expected run."""


class RunConflictError(RunError):
    """A place that holds another run, or something else, so that a run must be written elsewhere.

    Parameters
    ----------
    path : str
        The place, for the message.
    differences : sequence of str
        In what the run that is there differs from the requested one, one phrase each.
    message : str, optional
        In place of the default one.
    """

    def __init__(self, path: object, differences: Sequence[str], message: str = "", *, hint: str | None = None) -> None:
        elsewhere = "Choose another place with -o RUN, or add --overwrite to replace it."
        super().__init__(message or f"{path} holds another run: {'; '.join(differences)}.", hint=hint or elsewhere)
        self.differences = tuple(differences)


class OutputError(InputError):
    """A file that cannot be written: no permission, no space, no folder."""


class ShortageError(InputError):
    """Too little memory, or too many open files: nothing is wrong with the file that was read at that moment."""

    @classmethod
    def of(cls, error: BaseException, path: object = None) -> ShortageError | None:
        """Return this error if a library's error is one of a shortage, else None."""
        number, text = getattr(error, "errno", None), str(error).lower()
        where = f" at {path}" if path else ""
        if number in (errno.EMFILE, errno.ENFILE):
            hint = "Allow more, and run the same command again: ulimit -n 4096"
            return cls(f"The system allows no more open files{where}: {os.strerror(number)}.", hint=hint)
        is_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
        # OpenCV, Pillow, Python's threads and the loader of libraries have no type for it.
        if is_memory or any(each in text for each in _NO_MEMORY):
            reason = str(error) or "the system gave no more memory"
            hint = "Close other programs, use a machine with more memory, or look at the limit: ulimit -v"
            return cls(f"There is not enough memory{where}: {reason}.".replace("..", "."), hint=hint)
        return None


class ModelError(TransferError):
    """A model that is missing, damaged, too new or of an unknown kind."""

    exit_code = 4


RUNS = Path("runs")
"""Where runs are written by default."""
LIST_RUNS = "List the runs: transfer-cli runs list"


class MissingModelError(ModelError, RunError):
    """A run, bundle or export that is not there, or a path that is none of them."""

    @classmethod
    def of(cls, kind: str, path: Path) -> MissingModelError:
        """Return the error of a path that does not exist; it suggests the nearest name in the same folder.

        A name is also looked up in the folder of runs, whose list prints names without the folder.
        """
        guess = ""
        for folder in (RUNS / path.parent, path.parent):
            with suppress(OSError):
                near = nearest(path.name, [place.name for place in folder.iterdir()])
                guess = guess or (f" Did you mean {folder / near}?" if near else "")
        return cls(f"There is no {kind} at {path}.{guess}", hint=LIST_RUNS)


class WeightsError(ModelError):
    """Pretrained weights that are not installed and cannot be downloaded."""


class DataSetError(ModelError):
    """A public data set that cannot be downloaded, or whose file is not the expected one."""


class MissingExtraError(ModelError):
    """An optional package (extra) that is not installed."""


class GateError(TransferError):
    """A model that does not reach the required quality (``--min-accuracy``, the checks of export)."""

    exit_code = 6


class TransferWarning(UserWarning):
    """A possible problem with a result, or images that could not be read; see `warnings.filterwarnings`."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the name of `known` that is most similar to `word`, or None if none is similar."""
    folded = {name.casefold().replace("-", "").replace("_", ""): name for name in known}
    match = difflib.get_close_matches(word.casefold().replace("-", "").replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the sentence that suggests the nearest name of `known`, after a blank; empty if none is similar."""
    near = nearest(word, known)
    return f" Did you mean {near}?" if near else ""
