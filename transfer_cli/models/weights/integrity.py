"""Whether a file of weights is what Keras published, or can at least be read to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.catalog.backbones import CLASS_INDEX, WeightsFile, find
from transfer_cli.models.weights.registry import (
    cache_folder,
    files_of,
    is_damaged,
    is_here,
    is_not_here,
    several_damaged,
    uses,
)

_MOST_TIMES = 10


def damage(file: WeightsFile, path: Path) -> str | None:
    """Return what is wrong with what lies at `path`, or None.

    Where Keras knows a digest, that decides. Elsewhere every array of the HDF5 file has to be readable, and together
    they have to hold no fewer numbers than the network has parameters (published files without a top may hold more:
    that of MobileNet is as long as the one with it). A flipped bit within them is not found.
    """
    if file.digest:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, file.algorithm).hexdigest()
        return None if found == file.digest else f"its {algorithm(file)} is {found}, and Keras's is {file.digest}"
    expected = uses()[file.name][1].numbers if file.name in uses() else None
    try:
        return _read(path, expected)
    except Exception as error:  # h5py raises many kinds at a damaged file
        return f"it cannot be read as HDF5 ({error})"


def algorithm(file: WeightsFile) -> str:
    """Return what makes the digest of a file, as people write it."""
    return "SHA-256" if file.algorithm == "sha256" else "MD5"


def must_be_what_keras_knows(file: WeightsFile) -> None:
    """Raise WeightsError where the digest of a file in Keras's cache is known, and is another.

    Keras itself downloads such a file anew, without a word about it where there is no network.
    """
    if file.digest and (reason := damage(file, cache_folder() / file.name)):
        raise is_damaged(file, reason)


def damaged_here(files: list[WeightsFile]) -> dict[WeightsFile, str]:
    """Return those of the files in Keras's cache that are damaged, and why."""
    found = ((file, damage(file, cache_folder() / file.name)) for file in files if is_here(file))
    return {file: reason for file, reason in found if reason}


@dataclass(frozen=True)
class Checked:
    """What was found of one file of weights.

    Attributes
    ----------
    file : WeightsFile
    state : {"whole", "damaged", "not here"}
    reason : str
        How that is known.
    """

    file: WeightsFile
    state: str
    reason: str


def verify(backbones: Sequence[str] = ()) -> list[Checked]:
    """Return what is found of the files in Keras's cache: of all that the catalog knows, or those of some backbones."""
    wanted = [find(name) for name in backbones]
    needed = [files_of(spec, top=False)[0] for spec in wanted]
    known = [file for file, use in uses().values() if not wanted or use.spec in wanted]
    found = [_checked(file) for file in [*known, CLASS_INDEX] if is_here(file)]
    here = [item.file for item in found if item.file != CLASS_INDEX]
    for spec, file in zip(wanted, needed, strict=True):
        if not any(uses()[other.name][1].spec == spec for other in here):
            found.append(Checked(file, "not here", f"expected in {cache_folder()}"))
    return found


def must_be_good(found: Sequence[Checked]) -> None:
    """Raise WeightsError where a file was found damaged, or was not found; all of them are named."""
    if damaged := [item.file for item in found if item.state == "damaged"]:
        raise several_damaged(damaged)
    if missing := [item.file for item in found if item.state == "not here"]:
        raise is_not_here(missing)


def _checked(file: WeightsFile) -> Checked:
    if reason := damage(file, cache_folder() / file.name):
        return Checked(file, "damaged", reason)
    if file.digest:
        return Checked(file, "whole", f"its {algorithm(file)} is Keras's")
    return Checked(file, "whole", "all of it can be read; Keras knows no digest of it")


def _read(path: Path, expected: int | None) -> str | None:
    """Read every array of an HDF5 file; return what is wrong with how many numbers it holds, or None."""
    import h5py

    arrays: list[Any] = []

    def find_arrays(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            arrays.append(item)

    with h5py.File(path, "r") as file:
        file.visititems(find_arrays)
        count = sum(int(array.size) for array in arrays)
        # A small file may say that it holds more than any memory.
        if expected is not None and not expected <= count <= _MOST_TIMES * expected:
            return f"it holds {count:,} numbers, and the network has {expected:,}"
        for array in arrays:
            array[()]
    return None
