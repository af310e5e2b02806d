"""Why the system refused to write a file: libraries pass that on in several ways."""

from __future__ import annotations

import errno
import os
import re

NOTHING_LEFT = "No partial files were left."
ANOTHER_PLACE = "Choose another place to write to."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMPY = re.compile(r"\d+ requested and \d+ written")
"""The message of NumPy on a full disk, which has no number."""
_NUMBER = re.compile(r"errno (?:= )?(\d+)", re.IGNORECASE)
"""How HDF5, and an error of several files (`shutil.Error`), quote the number of the system's error."""


def error_number(error: BaseException) -> int | None:
    """Return the number of the system's error behind an exception, None if it has none."""
    text = str(error)
    if number := getattr(error, "errno", None):
        return int(number)
    if _NUMPY.search(text) or os.strerror(errno.ENOSPC) in text:
        return errno.ENOSPC
    return int(match[1]) if (match := _NUMBER.search(text)) else None


def is_full(error: BaseException) -> bool:
    """Return whether an exception says that a disk, or the share of this user, is full."""
    return error_number(error) in _FULL


def reason_of(error: BaseException) -> str:
    """Return the reason of an error of the system in its words, such as "No space left on device"."""
    number = error_number(error) if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error).rstrip(".")
