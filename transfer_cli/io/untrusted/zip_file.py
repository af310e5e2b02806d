"""A zip file that somebody else may have made: looked at before a library opens it, and nothing of it unpacked."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from transfer_cli.errors import ModelError

MOST_MEMBERS = 20_000
"""A classifier of several hundred trees and labels has some thousand arrays."""
MOST_TIMES = 20
"""A packed file may be so many times as long as what is stored of it; weights hardly become shorter at all."""
_BEGINS = b"PK\x03\x04"
_SLACK = 10_000
"""A short text may become shorter than that."""
_LINK = stat.S_IFLNK
_FILES = (0, stat.S_IFREG)


def members(path: Path, *, may_be: Callable[[str], bool], compressed: bool = False) -> list[ZipInfo]:
    """Return what a zip file holds, if a library can be let at it.

    Parameters
    ----------
    path : Path
    may_be : callable
        Whether a member can have this name.
    compressed : bool
        Whether members may be compressed, `MOST_TIMES` at most; what this program writes itself never is.

    Raises
    ------
    ModelError
        When it is no zip file; when a member has a name that leads elsewhere, or is not expected, or is there twice,
        or is a link; when it is encrypted, compressed, or says to be longer than the file can hold.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begins = file.read(len(_BEGINS))
            with ZipFile(file) as archive:
                found = archive.infolist()
    except (OSError, EOFError, ValueError, NotImplementedError, BadZipFile) as error:
        raise ModelError(f"{path} could not be read as a zip file: {error}.") from error
    if begins != _BEGINS or min((member.header_offset for member in found), default=1) != 0:
        # Cut off at its end, a file may still end with another one, which was a member of it.
        raise ModelError(f"{path} was refused: it was cut off, or something else lies before the zip file in it.")
    if len(found) > MOST_MEMBERS:
        raise ModelError(f"{path} was refused: it has {len(found):,} members, {MOST_MEMBERS:,} at most are expected.")
    names = set()
    for member in found:
        if reason := _fault(member, may_be, compressed):
            raise ModelError(f"{path} was refused, and nothing of it was unpacked: {member.filename!r} {reason}.")
        if member.filename.casefold() in names:
            raise ModelError(f"{path} was refused: it holds {member.filename!r} twice.")
        names.add(member.filename.casefold())
    declared = sum(member.file_size for member in found)
    if declared > (size * MOST_TIMES + _SLACK if compressed else size):
        raise ModelError(
            f"{path} was refused, and nothing of it was unpacked: it has {size:,} bytes and would become {declared:,}."
        )
    return found


def is_plain(name: str) -> bool:
    """Return whether a name is that of a file, and of nothing in or outside another folder, on any system."""
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0") and name == PurePosixPath(name).name


def _fault(member: ZipInfo, may_be: Callable[[str], bool], compressed: bool) -> str:
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if not all(map(is_plain, name.split("/"))):
        return "is a name that leads elsewhere"
    if kind == _LINK:
        return "is a link"
    if kind not in _FILES:
        return "is no file"
    if not may_be(name):
        return "does not belong there"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if not compressed and member.compress_type != ZIP_STORED:
        return f"is compressed, which this program never does ({member.compress_size:,} to {member.file_size:,} bytes)"
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "is compressed in an unusual way"
    most = member.compress_size * MOST_TIMES + _SLACK if compressed else member.compress_size
    if member.file_size > most:
        return f"has {member.compress_size:,} bytes and would become {member.file_size:,}"
    return ""
