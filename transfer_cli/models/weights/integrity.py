"""Check weights files: by the digest that Keras publishes, or by reading all arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.catalog.backbones import CLASS_INDEX, WeightsFile, find
from transfer_cli.models.weights import registry
from transfer_cli.models.weights.registry import cache_folder, is_installed, weight_uses
from transfer_cli.progress import SILENT, Progress

_MAX_RATIO = 10
_ALGORITHMS = {"sha256": "SHA-256", "md5": "MD5"}


def damage(file: WeightsFile, path: Path) -> str | None:
    """Return what is wrong with the file at `path`, or None.

    If Keras publishes a digest, it decides. Otherwise every array of the HDF5 file must be readable, and they must hold
    at least as many numbers as the network has parameters (some published files without the head hold more). A flipped
    bit inside an array is not found then.
    """
    if file.digest:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, file.algorithm).hexdigest()
        if found == file.digest:
            return None
        return f"its {_ALGORITHMS[file.algorithm]} is {found}; Keras publishes {file.digest}"
    expected = weight_uses()[file.name][1].numbers if file.name in weight_uses() else None
    try:
        return _read(path, expected)
    except Exception as error:  # h5py raises many types for a damaged file
        return f"it cannot be read as HDF5 ({error})"


def check_digest(file: WeightsFile) -> None:
    """Raise WeightsError if a file in the Keras cache does not match its published digest.

    Keras itself would silently download such a file again.
    """
    if file.digest and (reason := damage(file, cache_folder() / file.name)):
        raise registry.damaged_error(file, reason)


def damaged_files(files: list[WeightsFile]) -> dict[WeightsFile, str]:
    """Return the damaged ones of the given files in the Keras cache, and why."""
    found = ((file, damage(file, cache_folder() / file.name)) for file in files if is_installed(file))
    return {file: reason for file, reason in found if reason}


@dataclass(frozen=True)
class FileCheck:
    """The result of checking one weights file.

    Attributes
    ----------
    file : WeightsFile
    state : {"intact", "damaged", "missing"}
    reason : str
    """

    file: WeightsFile
    state: str
    reason: str


def verify(backbones: Sequence[str] = (), *, progress: Progress = SILENT) -> list[FileCheck]:
    """Check the weights files in the Keras cache: all known ones, or those of some backbones."""
    wanted = [find(name) for name in backbones]
    known = [file for file, use in weight_uses().values() if not wanted or use.spec in wanted]
    installed = [file for file in [*known, CLASS_INDEX] if is_installed(file)]
    found = []
    with progress.track(f"verifying files in {cache_folder()}", len(installed)) as advance:
        for file in installed:
            found.append(_check_file(file))
            advance(1)
    for spec in wanted:
        if not any(is_installed(file) for file in known if weight_uses()[file.name][1].spec == spec):
            (missing,) = registry.files_of(spec, top=False)
            found.append(FileCheck(missing, "missing", f"expected in {cache_folder()}"))
    return found


def require_intact(found: Sequence[FileCheck]) -> None:
    """Raise WeightsError that lists all damaged or missing files, if any."""
    if damaged := [item.file for item in found if item.state == "damaged"]:
        raise registry.damaged_files_error(damaged)
    if missing := [item.file for item in found if item.state == "missing"]:
        raise registry.missing_error(missing)


def _check_file(file: WeightsFile) -> FileCheck:
    if reason := damage(file, cache_folder() / file.name):
        return FileCheck(file, "damaged", reason)
    if file.digest:
        return FileCheck(file, "intact", f"{_ALGORITHMS[file.algorithm]} matches")
    return FileCheck(file, "intact", "readable; Keras publishes no digest")


def _read(path: Path, expected: int | None) -> str | None:
    """Read every array of an HDF5 file; return what is wrong with the number of values, or None.

    Values in other files are refused: they would be read there, and are not part of what was checked.
    """
    import h5py

    from transfer_cli.io.untrusted.hdf5_file import check_hdf5_arrays

    arrays: list[Any] = []

    def find_arrays(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            arrays.append(item)

    with h5py.File(path, "r") as file:
        file.visititems(find_arrays)
        count = sum(int(array.size) for array in arrays)
        # A small file may declare more values than fit in memory.
        if expected is not None and not expected <= count <= _MAX_RATIO * expected:
            return f"it holds {count:,} numbers; the network has {expected:,} parameters"
        check_hdf5_arrays(path)
        for array in arrays:
            array[()]
    return None
