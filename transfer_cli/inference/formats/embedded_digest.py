"""A file that carries its own digest, so that damage is seen wherever it was copied to, with no file beside it."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

from transfer_cli.errors import ModelError

MARK = b"transfer-cli-seal:"
_DIGITS = 64
SEAL = (MARK + b"0" * _DIGITS).decode()
"""What is written in the place of the digest before the file is sealed."""


def seal(path: Path) -> None:
    """Put the digest of a file into it: SHA-256 of all its bytes, with zeros where the digest stands.

    Raises
    ------
    ModelError
        When `SEAL` does not stand in it exactly once.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        place = _place(data)
        if place is None or data[place : place + _DIGITS] != b"0" * _DIGITS:
            raise ModelError(f"{path} has no place for its digest.")
        data[place : place + _DIGITS] = _digest(data, place).encode()


def must_be_whole(path: Path) -> None:
    """Raise ModelError if a sealed file is not as it was when it was sealed.

    It detects damage, not malice: whoever changes a file on purpose can seal it again.

    Raises
    ------
    ModelError
        Also when it was never sealed, or cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = _place(data)
            right = place is not None and data[place : place + _DIGITS] == _digest(data, place).encode()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from None
    if place is None:
        raise ModelError(
            f"{path} does not say what it is: it was not written by transfer-cli export, or it was altered.",
            hint="Write it anew: transfer-cli export RUN",
        )
    if not right:
        raise ModelError(f"{path} was altered: its digest does not fit it.", hint="Copy it again, or export it anew.")


def is_sealed(path: Path) -> bool:
    """Return whether a file has a seal, right or wrong: whether it is one that this program wrote."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(MARK) >= 0
    except (OSError, ValueError):
        return False


def _place(data: mmap.mmap) -> int | None:
    """Return where the digest begins, if there is one place for it."""
    found = data.find(MARK)
    if found < 0 or data.find(MARK, found + 1) >= 0 or found + len(MARK) + _DIGITS > len(data):
        return None
    return found + len(MARK)


def _digest(data: mmap.mmap, place: int) -> str:
    whole = hashlib.sha256()
    with memoryview(data) as view:
        whole.update(view[:place])
        whole.update(b"0" * _DIGITS)
        whole.update(view[place + _DIGITS :])
    return whole.hexdigest()
