"""The images and labels in the file of a data set; no code in it is run, and what it unpacks to is bounded."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.datasets import DataSetSpec
from transfer_cli.datasets.pickled_arrays import read_pickled_data
from transfer_cli.errors import DataSetError, ModelError
from transfer_cli.io.untrusted.npz_file import read_arrays

MAX_UNPACKED = 256 * 2**20
"""CIFAR unpacks to 186 MB."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_ -]{0,40}")
_CIFAR_SIDE = 32


@dataclass(frozen=True)
class LabelledImages:
    """The images of one part.

    Attributes
    ----------
    images : ndarray of shape (n, side, side) or (n, side, side, 3), uint8
        Grey or RGB.
    labels : ndarray of shape (n,), int
        Place of each image's class in the class names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """The images of a data set by part (``train`` and ``test``), and the names of its classes."""

    parts: Mapping[str, LabelledImages]
    class_names: tuple[str, ...]


def read_data_set(spec: DataSetSpec, path: Path) -> DataSet:
    """Return the images and labels in the file of a data set.

    Raises
    ------
    DataSetError
        If the file does not hold what is expected of this data set.
    """
    try:
        found = _READERS[spec.format](path)
        for part in found.parts.values():
            _check(part, found.class_names)
    except (ModelError, ValueError, KeyError, TypeError, EOFError, OSError, tarfile.TarError, zlib.error) as error:
        reason = str(error).removeprefix(f"{path} ").rstrip(".")
        raise DataSetError(f"{path} does not hold the images of {spec.name}: {reason}.") from error
    return found


def _check(part: LabelledImages, names: Sequence[str]) -> None:
    images, labels = part.images, part.labels
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images) or len(images) != len(labels):
        raise ValueError(f"expected images of uint8 with a label each, received {images.dtype} {images.shape}")
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(f"expected labels from 0 to {len(names) - 1}, received {labels.min()} to {labels.max()}")
    # The names become folders.
    if len({*names}) != len(names) or not all(map(_NAME.fullmatch, names)):
        raise ValueError("the names of its classes are not plain words")


def _read_mnist(path: Path) -> DataSet:
    arrays = read_arrays(path, "x_train", "y_train", "x_test", "y_test", compressed=True)
    parts = {part: LabelledImages(arrays[f"x_{part}"], _labels(arrays[f"y_{part}"])) for part in ("train", "test")}
    return DataSet(parts, tuple(map(str, range(10))))


def _read_cifar10(path: Path) -> DataSet:
    batches = [f"data_batch_{number}" for number in range(1, 6)]
    files = _unpack(path, "cifar-10-batches-py", [*batches, "test_batch", "batches.meta"])
    parts = {"train": _joined(files, batches, b"labels"), "test": _joined(files, ["test_batch"], b"labels")}
    return DataSet(parts, _class_names(files["batches.meta"][b"label_names"]))


def _read_cifar100(path: Path) -> DataSet:
    files = _unpack(path, "cifar-100-python", ["train", "test", "meta"])
    parts = {part: _joined(files, [part], b"fine_labels") for part in ("train", "test")}
    return DataSet(parts, _class_names(files["meta"][b"fine_label_names"]))


def _labels(labels: Any) -> NDArray[np.int64]:
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"expected one whole number per image, received {found.dtype} of shape {found.shape}")
    return found.astype(np.int64)


def _joined(files: Mapping[str, dict[bytes, Any]], names: Sequence[str], label_key: bytes) -> LabelledImages:
    data = np.concatenate([files[name][b"data"] for name in names])
    labels = _labels([label for name in names for label in files[name][label_key]])
    # One row per image: all red pixels, then all green and all blue ones.
    images = data.reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1)
    return LabelledImages(images, labels)


def _class_names(names: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("ascii") for name in names)


def _unpack(path: Path, folder: str, names: Sequence[str]) -> dict[str, dict[bytes, Any]]:
    """Return the content of files in a packed archive, read from beginning to end without writing any of it."""
    wanted, found = {f"{folder}/{name}": name for name in names}, {}
    with gzip.open(path) as unpacked, tarfile.open(fileobj=_Bounded(unpacked), mode="r|") as archive:
        for member in archive:
            name = wanted.get(member.name)
            content = archive.extractfile(member) if name is not None and member.isreg() else None
            if name is not None and content is not None:
                found[name] = read_pickled_data(content.read())
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return found


class _Bounded(io.RawIOBase):
    """A stream that ends with an error after `MAX_UNPACKED` bytes."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
        return content


_READERS: dict[str, Callable[[Path], DataSet]] = {
    "mnist": _read_mnist,
    "cifar10": _read_cifar10,
    "cifar100": _read_cifar100,
}
