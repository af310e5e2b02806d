"""What people give in place of an image, a video or an address, and the line that makes images of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from transfer_cli.errors import InputError
from transfer_cli.io.discovery import SUFFIXES, VIDEO_SUFFIXES
from transfer_cli.text import shell_command

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2}[^/]")
_CAMERAS = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt")
_DOWNLOADS = {
    **dict.fromkeys(("http", "https", "ftp", "ftps"), "curl -fLO {}"),
    "s3": "aws s3 cp {} . (a folder: add --recursive)",
    "gs": "gcloud storage cp {} . (a folder: add -r)",
    "sftp": "sftp {}",
}


def address_reason(path: str) -> str | None:
    """Return how to get the image at an address, None if `path` is not one.

    Examples
    --------
    >>> address_reason("s3://trap/1.jpg")
    'an address, not a file; download it first: aws s3 cp s3://trap/1.jpg . (a folder: add --recursive)'
    """
    if not _ADDRESS.match(path) and not path.startswith("file:///"):
        return None
    # A path with // in it is the same as with one; Python's paths have one.
    address = re.sub(r"^([^:]+):/([^/])", r"\1://\2", path)
    scheme = address.partition(":")[0].lower()
    if scheme == "file":
        return f"an address, not a path; give the path: {shell_command(unquote(urlsplit(address).path))}"
    if scheme in _CAMERAS:
        command = f"ffmpeg -i {shell_command(address)} -frames:v 1 frame.jpg"
        return f"the address of a camera, not a file; save a frame first: {command}"
    if scheme not in _DOWNLOADS:
        return "an address, not a file; download it first"
    return f"an address, not a file; download it first: {_DOWNLOADS[scheme].format(shell_command(address))}"


def video_reason(path: str) -> str | None:
    """Return how to save the frames of a video, by the ending of its name; None if `path` is not one."""
    if not path.lower().endswith(VIDEO_SUFFIXES):
        return None
    folder = shell_command(Path(path).stem + "-frames")
    frames = f"mkdir -p {folder} && ffmpeg -i {shell_command(path)} -vf fps=1 {folder}/%06d.jpg"
    return f"a video, not an image; save one frame per second as images first: {frames}"


def check_for_images(paths: Sequence[str]) -> None:
    """Raise InputError, which says how to get images, if all paths are videos and addresses."""
    reasons = [_reason_of_name(path) for path in paths]
    if reasons and all(reasons):
        what, _, how = str(reasons[0]).partition("; ")
        more = "" if len(paths) == 1 else f" So are the other {len(paths) - 1}."
        hint = f"{how[0].upper()}{how[1:]}"
        raise InputError(f"{paths[0]} is {what}. Expected image files or folders of images.{more}", hint=hint)


def _reason_of_name(path: str) -> str | None:
    if Path(path).is_dir() or path.lower().endswith(SUFFIXES):
        return address_reason(path)
    return address_reason(path) or video_reason(path)
