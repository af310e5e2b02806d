"""Validate an untrusted HDF5 file: plain arrays only, and no link to anything outside it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import IO, Any

import h5py

_NUMERIC_KINDS = "biuf"
_MAX_DEPTH = 32


def check_hdf5_arrays(file: IO[bytes] | Path) -> None:
    """Raise ValueError if an HDF5 file holds anything but groups and plain numeric arrays.

    Links to other files or objects, values stored in other files, virtual arrays, and arrays that claim more values
    than the file stores are refused.
    """
    with h5py.File(file, "r") as opened:
        _check_group(opened, _check_array, 0, set())


def check_hdf5_self_contained(file: IO[bytes] | Path) -> None:
    """Raise ValueError if an HDF5 file refers to another file: by a link, external storage or a virtual array."""
    with h5py.File(file, "r") as opened:
        _check_group(opened, _check_storage, 0, set())


def count_values(file: IO[bytes], *, leave_out: str) -> int:
    """Return how many numbers an HDF5 file holds, without the group `leave_out` at its top."""
    total = 0

    def add(name: str, item: object) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and not name.startswith(f"{leave_out}/"):
            total += int(item.size)

    with h5py.File(file, "r") as opened:
        opened.visititems(add)
    return total


def _check_group(group: Any, check_array: Callable[[Any], None], depth: int, visited: set[int]) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{group.name} is nested too deeply")
    address = h5py.h5o.get_info(group.id).addr
    if address in visited:
        raise ValueError(f"{group.name} occurs twice")  # possibly an endless circle
    visited.add(address)
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link to another place ({type(link).__name__})")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item, check_array, depth + 1, visited)
        elif not isinstance(item, h5py.Dataset):
            raise ValueError(f"{item.name} is not an array")
        else:
            check_array(item)


def _check_storage(array: Any) -> None:
    if array.is_virtual or array.external:
        raise ValueError(f"the values of {array.name} are stored in another file")


def _check_array(array: Any) -> None:
    _check_storage(array)
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise ValueError(f"{array.name} holds {array.dtype}, expected numbers")
    if array.chunks is not None or array.shape is None:
        raise ValueError(f"{array.name} is not stored contiguously")
    if prod(array.shape) * array.dtype.itemsize != array.id.get_storage_size():
        raise ValueError(f"{array.name} claims the shape {array.shape}, which differs from what is stored")
