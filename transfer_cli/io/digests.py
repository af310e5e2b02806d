"""Length and SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from transfer_cli.regular_file import open_regular


class FileDigest(BaseModel):
    """Length in bytes and SHA-256 of one file of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def digest_of_file(path: Path) -> FileDigest:
    """Return the length and the SHA-256 of a file."""
    with open_regular(path) as file:
        return FileDigest(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
