"""Length and SHA-256 of files."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from transfer_cli.regular_file import open_regular

DIGEST_MARK = b"transfer-cli-sha256:"
"""Begins the digest that `export` embeds in each file."""


class FileDigest(BaseModel):
    """Length in bytes and SHA-256 of one file of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def digest_of_file(path: Path) -> FileDigest:
    """Return the length and the SHA-256 of a file."""
    with open_regular(path) as file:
        return FileDigest(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def has_digest(path: Path) -> bool:
    """Return whether a file has an embedded digest, right or wrong: whether transfer-cli export wrote it."""
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(DIGEST_MARK) >= 0
    except (OSError, ValueError):
        return False
