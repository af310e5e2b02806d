"""Read NumPy arrays from an untrusted file: never a pickle, never more memory than its checked size."""

from __future__ import annotations

from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.zip_file import list_members

_KINDS = "biufU"
"""Booleans, numbers and text."""
UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile),
    *(SyntaxError, TokenError, RecursionError, MemoryError),
)
"""What NumPy and zipfile raise for a damaged or hostile file; the last four for a header of nested brackets."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(
    path: Path, *required: str, optional: tuple[str, ...] = (), compressed: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file.

    Parameters
    ----------
    path : Path
    *required : str
        Names of the required arrays.
    optional : tuple of str
        Names of further accepted arrays.
    compressed : bool
        Whether they may be compressed, within the limits of `zip_file.list_members`.

    Raises
    ------
    ModelError
        If the file holds anything else; no code in it is run.
    """
    expected = {f"{name}.npy": name for name in (*required, *optional)}
    members = list_members(path, is_expected=expected.__contains__, compressed=compressed)
    present = {expected[member.filename] for member in members}
    if missing := set(required) - present:
        raise ModelError(f"{path} was refused: it lacks {', '.join(sorted(missing))}.")
    arrays = {}
    try:
        with path.open("rb") as file, ZipFile(file) as archive:
            for name in sorted(present):
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = _array(member, archive.getinfo(f"{name}.npy").file_size)
    except UNREADABLE as error:
        raise ModelError(f"{path} could not be read: {error}.") from error
    return arrays


def check_numeric(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array from `path`; raise ModelError if it holds text or NaN."""
    if array.dtype.kind == "U" or np.isnan(array).any():
        raise ModelError(f"{path} was refused: it holds text or NaN, expected numbers.")
    return array


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array in a file of `size` bytes; its header is checked before memory is allocated."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"unknown format version {version}")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}, which is not an array of numbers; no code in it was run")
    if prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"its header claims {dtype} of shape {shape}, which differs from its content")
    return np.ndarray(shape, dtype, bytearray(file.read()), order="F" if fortran else "C")
