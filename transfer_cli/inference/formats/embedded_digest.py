"""A file that contains its own SHA-256 digest, so that damage is detected after any copy, without a second file."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

from transfer_cli.catalog.backbones import not_exported_hint
from transfer_cli.errors import ModelError
from transfer_cli.io.digests import DIGEST_MARK
from transfer_cli.regular_file import open_regular

_DIGITS = 64
DIGEST_PLACEHOLDER = (DIGEST_MARK + b"0" * _DIGITS).decode()
"""The text that a file contains in place of the digest until `embed_digest` fills it in."""


def embed_digest(path: Path) -> None:
    """Replace the placeholder in a file by the SHA-256 of the file, computed with zeros in place of the digest.

    Raises
    ------
    ModelError
        When the file does not contain `DIGEST_PLACEHOLDER` exactly once.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        start = _digest_start(data)
        if start is None or data[start : start + _DIGITS] != b"0" * _DIGITS:
            raise ModelError(f"{path} has no placeholder for its digest.")
        data[start : start + _DIGITS] = _digest(data, start).encode()


def check_digest(path: Path) -> None:
    """Raise ModelError unless the digest in a file is that of the file.

    This detects damage, not malice: the digest can be updated after a deliberate change.

    Raises
    ------
    ModelError
        Also when the file has no digest, or cannot be read.
    """
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = _digest_start(data)
            matches = start is not None and data[start : start + _DIGITS] == _digest(data, start).encode()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from None
    if start is None:
        raise ModelError(
            f"{path} has no transfer-cli metadata: transfer-cli export did not write it, or it was altered.",
            hint=not_exported_hint(path),
        )
    if not matches:
        raise ModelError(
            f"{path} was altered: its SHA-256 digest does not match.",
            hint="Copy it again, or export the model again: transfer-cli export RUN",
        )


def _digest_start(data: mmap.mmap) -> int | None:
    """Return the offset of the digest; None unless the file has room for exactly one."""
    mark = data.find(DIGEST_MARK)
    if mark < 0 or data.find(DIGEST_MARK, mark + 1) >= 0 or mark + len(DIGEST_MARK) + _DIGITS > len(data):
        return None
    return mark + len(DIGEST_MARK)


def _digest(data: mmap.mmap, start: int) -> str:
    sha256 = hashlib.sha256()
    with memoryview(data) as view:
        sha256.update(view[:start])
        sha256.update(b"0" * _DIGITS)
        sha256.update(view[start + _DIGITS :])
    return sha256.hexdigest()
