"""Keras's own download of ImageNet weights, with an end to its patience."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.progress import Progress
from transfer_cli.weights import STALL_SECONDS, cache_folder, cannot_be_had, must_be_had


def bring(files: list[WeightsFile], *, offline: bool, progress: Progress) -> None:
    """Have every file in Keras's cache; do nothing for those that are there.

    A file is downloaded under another name and renamed, since Keras takes what lies in its cache at its word.

    Raises
    ------
    WeightsError
        When a file is not here and cannot be had.
    """
    missing = must_be_had(files, offline=offline)
    for file in missing:
        progress.note(f"downloading {file.url}")
        try:
            with _patience():
                _get(file)
        except Exception as error:  # Keras raises a bare Exception for a refused download
            raise cannot_be_had(file, str(error)) from error


def _get(file: WeightsFile) -> None:
    from keras.utils import get_file

    target = cache_folder() / file.name
    # Where its folder is missing Keras takes one in /tmp, and would not look there again.
    target.parent.mkdir(parents=True, exist_ok=True)
    arguments = {"cache_dir": str(target.parent.parent), "cache_subdir": target.parent.name}
    draft = Path(get_file(f"{file.name}.part", file.url, force_download=True, **arguments))
    draft.replace(target)


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
