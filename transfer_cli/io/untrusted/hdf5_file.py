"""An HDF5 file that somebody else may have written: arrays that are in it, and nothing that leads elsewhere."""

from __future__ import annotations

from math import prod
from typing import IO, Any

import h5py

_KINDS = "biuf"
_MOST_DEPTH = 32


def must_hold_arrays(file: IO[bytes]) -> None:
    """Raise ValueError where an HDF5 file has anything but groups and plain arrays of numbers of its own.

    A link to another file or another place, values that lie in other files, arrays that are a view of those of another
    file, and arrays that say to be larger than what is stored of them are refused.
    """
    with h5py.File(file, "r") as opened:
        _walk(opened, 0, set())


def _walk(group: Any, depth: int, seen: set[int]) -> None:
    if depth > _MOST_DEPTH:
        raise ValueError(f"{group.name} is nested too deeply")
    place = h5py.h5o.get_info(group.id).addr
    if place in seen:
        # Such circles would never end.
        raise ValueError(f"{group.name} is there twice")
    seen.add(place)
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link to another place ({type(link).__name__})")
        item = group[name]
        if isinstance(item, h5py.Group):
            _walk(item, depth + 1, seen)
        elif not isinstance(item, h5py.Dataset):
            raise ValueError(f"{item.name} is no array")
        else:
            _must_be_plain(item)


def _must_be_plain(array: Any) -> None:
    if array.is_virtual or array.external:
        raise ValueError(f"the values of {array.name} lie in another file")
    if array.dtype.kind not in _KINDS:
        raise ValueError(f"{array.name} holds {array.dtype}, which is no number")
    if array.chunks is not None or array.shape is None:
        raise ValueError(f"{array.name} is not stored as it is")
    if prod(array.shape) * array.dtype.itemsize != array.id.get_storage_size():
        raise ValueError(f"{array.name} says to have the shape {array.shape}, which is not what is stored")
