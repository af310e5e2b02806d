"""Find image files on disk, and leave out folders that never hold images of the user."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from transfer_cli.errors import FolderError, ShortageError

HEIF_SUFFIXES = (".heic", ".heif", ".hif", ".heics", ".heifs")
HEIF_EXTRA = "pip install 'transfer-cli[heif]'"
"""The command after which files with `HEIF_SUFFIXES` are read, too."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".png", ".apng", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".avif", ".avifs", *(HEIF_SUFFIXES if find_spec("pillow_heif") else ())),
)
_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f"
)
VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
    *(".ts", ".vob", ".webm", ".wmv"),
)
_REMARKS = {
    f"to read them: {HEIF_EXTRA}": HEIF_SUFFIXES,
    "camera raw; convert them to JPEG": _RAW.split(),
    "JPEG 2000; convert them to JPEG": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "convert them to JPEG or PNG": (
        *(".ai", ".cdr", ".dcm", ".dds", ".dib", ".eps", ".exr", ".fits", ".hdr", ".ico", ".jxl", ".jxr", ".pbm"),
        *(".pcx", ".pdf", ".pgm", ".pnm", ".ppm", ".psb", ".psd", ".svg", ".tga", ".wdp", ".xcf"),
    ),
    "videos; save their frames as images": VIDEO_SUFFIXES,
    "archives; unpack them": (".7z", ".gz", ".rar", ".tar", ".tgz", ".zip"),
}
_FRAMES = "Save the frames of a video as images, one per second: ffmpeg -i VIDEO -vf fps=1 frame-%06d.jpg"
_REMARK_OF = {suffix: remark for remark, suffixes in _REMARKS.items() for suffix in suffixes}
"""What to do with files that look like images of the user but are not read."""
UNREADABLE = "folder without permission to read"
# Folders that file managers, archives and network drives create.
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


def expand_paths(paths: Iterable[str], left_out: Counter[str] | None = None) -> Iterator[str]:
    """Yield files in input order: each file as given, each folder's images sorted by path.

    A path that is not a folder is yielded even if it does not exist, and so is a folder that cannot be read; the
    decoder reports them. Only the names of one folder are in memory at a time.

    Parameters
    ----------
    paths : iterable of str
    left_out : Counter, optional
        Gets the number of files in folders that are not images, by reason.
    """
    left_out = Counter() if left_out is None else left_out
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112
            unreadable: list[str] = []
            images = [*walk_images(Path(path), left_out, unreadable), *unreadable]
            yield from sorted(os.path.join(path, image) if image else path for image in images)  # noqa: PTH118
        else:
            yield path


def require_paths(paths: Iterable[str], left_out: Mapping[str, int]) -> Iterator[str]:
    """Return `paths` after a look at the first; raise FolderError, which tells what was left out, if there is none."""
    rest = iter(paths)
    for first in rest:
        return chain([first], rest)
    what = f" Received: {text}." if (text := describe_left_out(left_out)) else ""
    raise FolderError(
        f"No images found. Expected image files, folders of images, or - for paths on stdin.{what}",
        hint=_FRAMES if any("(videos;" in reason for reason in left_out) else None,
    )


def describe_left_out(left_out: Mapping[str, int]) -> str | None:
    """Return one line about the files that were left out, or None if there are none."""
    if not left_out:
        return None
    return "left out: " + ", ".join(f"{count:,} {_for(count, reason)}" for reason, count in sorted(left_out.items()))


def _for(count: int, reason: str) -> str:
    """Return a reason such as "images above the class level" for a number of files."""
    return re.sub(r"^((?:\S+ )?(?:file|image))s\b", r"\1", reason) if count == 1 else reason


def has_unreadable_folders(left_out: Mapping[str, int]) -> bool:
    """Return whether folders were left out because they cannot be read."""
    return any(reason.startswith(UNREADABLE) for reason in left_out)


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def file_type(name: str) -> str:
    """Return the name of a file's type for a count, ".txt files", and what to do if it looks like an image."""
    suffix = Path(name).suffix.lower()
    return f"{suffix or 'nameless'} files" + (f" ({_REMARK_OF[suffix]})" if suffix in _REMARK_OF else "")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or belongs to the system."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def walk_images(directory: Path, left_out: Counter[str], unreadable: list[str] | None = None) -> Iterator[str]:
    """Yield the image files below a folder, relative to it; links are followed, each folder once.

    Parameters
    ----------
    directory : Path
    left_out : Counter
        Gets the number of other files, by reason.
    unreadable : list of str, optional
        Gets the folders that cannot be read, relative to `directory`, which are otherwise counted in `left_out`.
    """
    visited: set[str] = set()
    stack = [""]
    while stack:
        inside = stack.pop()
        current = directory / inside
        real = os.path.realpath(current)
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            if shortage := ShortageError.of(error, current):
                raise shortage from error
            if unreadable is None:
                left_out[f"{UNREADABLE} ({current.name})"] += 1
            else:
                unreadable.append(inside.rstrip("/"))
            continue
        for entry in entries:
            if is_hidden(entry.name):
                left_out["hidden"] += 1
            elif is_dir(entry):
                stack.append(f"{inside}{entry.name}/")
            elif entry.name.lower().endswith(SUFFIXES):
                yield f"{inside}{entry.name}"
            else:
                left_out[file_type(entry.name)] += 1
