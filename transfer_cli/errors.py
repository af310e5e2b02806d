"""What can go wrong, each kind with the exit code of the command that meets it.

A message says what happened, what was expected and what was received; `hint` says what to type next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DONE = 0
BUG = 1
DONE_WITH_SKIPPED = 5


class TransferError(Exception):
    """Base of every error that is not a bug.

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
    """A word that no table of the catalog has."""

    exit_code = 2

    @classmethod
    def of(cls, kind: str, received: str, known: Iterable[str], hint: str) -> UnknownNameError:
        """Return the error for `received`, naming the nearest of `known`."""
        near = nearest(received, known)
        guess = f" Did you mean {near}?" if near else ""
        return cls(f"There is no {kind} called {received!r}.{guess}", hint=hint)


class InputError(TransferError):
    """A folder, an image, a table or a recipe that cannot be used as it is."""

    exit_code = 3


class FolderError(InputError):
    """A folder that is not a folder of images."""


class ImageError(InputError):
    """An image that could not be read, where every image has to be."""


class SplitError(InputError):
    """A split that cannot be read, or parts that cannot be used."""


class RecipeError(InputError):
    """A recipe with faults; all of them are in the message."""


class RunError(InputError):
    """A run directory that holds something else than what is asked for."""


class OutputError(InputError):
    """A file that could not be written: no permission, no space, no folder."""


class ModelError(TransferError):
    """A model that is missing, altered, too new or of an unknown kind."""

    exit_code = 4


class WeightsError(ModelError):
    """Weights that are not on this machine and cannot be had."""


class MissingExtraError(ModelError):
    """A package of an extra that is not installed."""


class GateError(TransferError):
    """A model that is not as good as was asked for."""

    exit_code = 6


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that looks most like `word`, or None where none is near."""
    folded = {name.casefold().replace("-", "").replace("_", ""): name for name in known}
    match = difflib.get_close_matches(word.casefold().replace("-", "").replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else None
