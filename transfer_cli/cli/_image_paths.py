"""The images that a command line names: files, folders, lists of paths, and - for paths on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from transfer_cli.cli._console import Console
from transfer_cli.errors import InputError

STDIN = "-"


def named_paths(console: Console, paths: Sequence[str], labels: dict[str, tuple[str, ...]] | None = None) -> list[str]:
    """Return the paths of a command line, with those in list files in place of each list.

    `labels` gets the labels of the images in tables that have a column of them.

    Raises
    ------
    InputError
        If the only path is a list that cannot be read, or all are videos and addresses.
    """
    from transfer_cli.data.path_lists import PathList, is_list
    from transfer_cli.data.videos_and_addresses import check_for_images

    check_for_images(paths)
    result: list[str] = []
    for path in paths:
        if not is_list(path):
            result.append(path)
            continue
        try:
            found = PathList.read(Path(path))
        except InputError as error:
            # Among images, such as all files of a folder, it is one more file that is none.
            if len(paths) == 1:
                raise
            console.warn(str(error))
            result.append(path)
        else:
            console.note(found.summary())
            result += found.images
            if labels is not None and found.labels:
                labels.update(zip(found.images, found.labels, strict=True))
    return result


def path_groups(console: Console, paths: Sequence[str]) -> Iterator[Iterable[str]]:
    """Yield the paths in groups: those on stdin end a group whenever the input pauses."""
    from transfer_cli.io import path_stream

    for is_stdin, group in groupby(paths, STDIN.__eq__):
        if not is_stdin:
            yield group
            continue
        if sys.stdin is not None and sys.stdin.isatty():
            console.note("type the path of an image and Enter; Ctrl-D ends")
        yield from path_stream.path_groups()
