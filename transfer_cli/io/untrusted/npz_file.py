"""NumPy arrays in a file that somebody else may have written: never a pickle, never more than the file holds."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.zip_file import members

_KINDS = "biufU"
"""Truth values, numbers and text."""
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_arrays(path: Path, *required: str, optional: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file.

    Parameters
    ----------
    path : Path
    *required : str
        The names they must have.
    optional : tuple of str
        Names they may have.

    Raises
    ------
    ModelError
        When the file holds anything else; nothing of it is run, and no more memory is taken than it has bytes.
    """
    expected = {f"{name}.npy": name for name in (*required, *optional)}
    found = {expected[member.filename] for member in members(path, may_be=expected.__contains__)}
    if missing := set(required) - found:
        raise ModelError(f"{path} was refused: it has no {', '.join(sorted(missing))}.")
    arrays = {}
    try:
        with path.open("rb") as file, ZipFile(file) as archive:
            for name in sorted(found):
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = _array(member, archive.getinfo(f"{name}.npy").file_size)
    except (OSError, EOFError, ValueError, TypeError, SyntaxError, BadZipFile) as error:
        raise ModelError(f"{path} could not be read: {error}.") from error
    return arrays


def must_be_numbers(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array out of `path`; raise ModelError when it holds text, or something that is not a number."""
    if array.dtype.kind == "U" or np.isnan(array).any():
        raise ModelError(f"{path} was refused: it holds something that is not a number.")
    return array


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array in a file of `size` bytes, whose header is looked at before room is made for it."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format {version} is not known")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}, which is no array of numbers; nothing of it was run")
    if prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"it says to hold {dtype} of {shape}, which is not what it holds")
    return np.ndarray(shape, dtype, bytearray(file.read()), order="F" if fortran else "C")
