"""Validate an untrusted zip file before a library opens it; nothing is unpacked."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from transfer_cli.errors import ModelError
from transfer_cli.regular_file import open_regular

MAX_MEMBERS = 20_000
"""A classifier of several hundred trees and labels has a few thousand arrays."""
MAX_COMPRESSION = 20
"""Highest accepted ratio of unpacked to packed size; weights hardly compress at all."""
_SIGNATURE = b"PK\x03\x04"
_SLACK = 10_000
"""A short text may compress better; this many bytes are always accepted."""


def list_members(path: Path, *, is_expected: Callable[[str], bool], compressed: bool = False) -> list[ZipInfo]:
    """Return the members of a zip file that is safe to open.

    Parameters
    ----------
    path : Path
    is_expected : callable
        Whether a member may have this name.
    compressed : bool
        Whether members may be compressed, by at most `MAX_COMPRESSION`; this program itself never compresses.

    Raises
    ------
    ModelError
        If it is not a zip file; if a member has an unsafe or unexpected name, occurs twice, is a link, is encrypted
        or compressed, or claims more bytes than the file can hold.
    """
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            signature = file.read(len(_SIGNATURE))
            with ZipFile(file) as archive:
                members = archive.infolist()
    except (OSError, EOFError, ValueError, NotImplementedError, BadZipFile) as error:
        raise ModelError(f"{path} could not be read as a zip file: {error}.") from error
    if signature != _SIGNATURE or min((member.header_offset for member in members), default=1) != 0:
        # A truncated file may end with a zip file that was one of its members.
        raise ModelError(f"{path} was refused: it is truncated, or other data precedes the zip archive.")
    if len(members) > MAX_MEMBERS:
        raise ModelError(f"{path} was refused: it has {len(members):,} members, at most {MAX_MEMBERS:,} are expected.")
    names = set()
    for member in members:
        if reason := _problem(member, is_expected, compressed):
            raise ModelError(f"{path} was refused and not unpacked: {member.filename!r} {reason}.")
        if member.filename.casefold() in names:
            raise ModelError(f"{path} was refused: it contains {member.filename!r} twice.")
        names.add(member.filename.casefold())
    declared = sum(member.file_size for member in members)
    if declared > (size * MAX_COMPRESSION + _SLACK if compressed else size):
        raise ModelError(f"{path} was refused and not unpacked: it would expand from {size:,} to {declared:,} bytes.")
    return members


def is_plain_name(name: str) -> bool:
    """Return whether a name is a single path component, on any operating system."""
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0") and name == PurePosixPath(name).name


def _problem(member: ZipInfo, is_expected: Callable[[str], bool], compressed: bool) -> str:
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    growth = f"from {member.compress_size:,} to {member.file_size:,} bytes"
    limit = member.compress_size * MAX_COMPRESSION + _SLACK if compressed else member.compress_size
    problems = {
        "is not a safe path": not all(map(is_plain_name, name.split("/"))),
        "is a link": kind == stat.S_IFLNK,
        "is not a regular file": kind not in (0, stat.S_IFREG),
        "is not expected there": not is_expected(name),
        "is encrypted": member.flag_bits & 0x1,
        f"is compressed, which this program never does ({growth})": not compressed
        and member.compress_type != ZIP_STORED,
        "is compressed by an unsupported method": member.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        f"would expand {growth}": member.file_size > limit,
    }
    return next((problem for problem, occurs in problems.items() if occurs), "")
