"""Images to try things out: those that come with the program, or a public data set as train and test folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.catalog import datasets
from transfer_cli.data.sample_data import copy_to
from transfer_cli.datasets.archive import fetch_archive
from transfer_cli.datasets.readers import DataSet, read_data_set
from transfer_cli.errors import InputError, OptionError, OutputError
from transfer_cli.io.atomic import atomic_write, check_writable_folder
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.text import counted


def write_sample_data(
    target: StrPath,
    *,
    dataset: str | None = None,
    images_per_class: int | None = None,
    offline: bool = False,
    progress: bool | Progress = False,
) -> Path:
    """Write images to try things out to the new folder `target`, and return it.

    Parameters
    ----------
    target : path
        If it holds the same images already, nothing is done.
    dataset : {"mnist", "cifar10", "cifar100"}, optional
        A public data set, which is downloaded once; its images become ``train/CLASS/NUMBER.png`` and
        ``test/CLASS/NUMBER.png``, numbered as in the data set. Default: the sample images of this program.
    images_per_class : int, optional
        At most that number of images per class for training, and as many for testing: the first ones. Default: all.
    offline : bool
        Never open an internet connection.
    progress : bool or Progress

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    DataSetError
        If it cannot be downloaded, or is not the expected file.
    OutputError
        If `target` holds something else, or cannot be written.
    """
    target = as_path(target, "a folder to write")
    if dataset is None:
        if images_per_class is not None:
            raise OptionError("--images-per-class limits a data set. Received no --dataset.", hint=_CHOOSE)
        return copy_to(target)
    if images_per_class is not None and images_per_class < 1:
        raise InputError(f"Expected 1 or more images per class. Received: {images_per_class}.")
    spec, progress = datasets.find(dataset), progress_of(progress)
    if target.exists() and not (target.is_dir() and {path.name for path in target.iterdir()} == {"train", "test"}):
        raise _taken(target)
    if not target.exists():
        check_writable_folder(target)
    path = fetch_archive(spec, offline=offline, progress=progress)
    with progress.track(f"reading {path.name}", None):
        found = read_data_set(spec, path)
    files = dict(_files(found, images_per_class))
    if target.exists():
        if {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} != {*files}:
            raise _taken(target)
        progress.note(f"{target} holds these {counted(len(files), 'image')} already; nothing to do")
        return target
    _write(target, files, progress)
    return target


_CHOOSE = f"Add --dataset {'|'.join(datasets.names())}, or leave out --images-per-class."


def _taken(target: Path) -> OutputError:
    return OutputError(
        f"{target} already exists and holds other files.", hint="Choose a new folder name, or remove the folder."
    )


def _files(found: DataSet, images_per_class: int | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the relative path and the pixels of each image to write, class by class."""
    for part, images in found.parts.items():
        digits = len(str(len(images.labels) - 1))
        for label, name in enumerate(found.class_names):
            for row in np.flatnonzero(images.labels == label)[:images_per_class].tolist():
                yield f"{part}/{name}/{row:0{digits}}.png", images.images[row]


def _write(target: Path, files: dict[str, NDArray[np.uint8]], progress: Progress) -> None:
    from PIL import Image

    with atomic_write(target) as draft, progress.track("writing images", len(files)) as advance:
        for name, pixels in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            advance(1)
