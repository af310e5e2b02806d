"""Whether a file of weights is what Keras published, or can at least be read to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.backbones import CLASS_INDEX, WeightsFile, find
from transfer_cli.weights import cache_folder, files_of, is_damaged, is_here, is_not_here, several_damaged, uses


def damage(file: WeightsFile, path: Path) -> str | None:
    """Return what is wrong with what lies at `path`, or None.

    Where Keras knows a digest, that decides. Elsewhere every array of the HDF5 file has to be readable, and together
    they have to hold as many numbers as the network has parameters; a flipped bit within them is not found.
    """
    if file.digest:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, file.algorithm).hexdigest()
        return None if found == file.digest else f"its {algorithm(file)} is {found}, and Keras's is {file.digest}"
    try:
        numbers = _numbers(path)
    except Exception as error:  # h5py raises many kinds at a damaged file
        return f"it cannot be read as HDF5 ({error})"
    expected = uses()[file.name][1].numbers if file.name in uses() else numbers
    return None if numbers == expected else f"it holds {numbers:,} numbers, and the network has {expected:,}"


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
    return Checked(file, "whole", "as many numbers as the network has; Keras knows no digest of it")


def _numbers(path: Path) -> int:
    """Return how many numbers an HDF5 file holds, having read them all."""
    import h5py

    count = 0

    def read(name: str, item: object) -> None:
        nonlocal count
        if isinstance(item, h5py.Dataset):
            count += item[()].size

    with h5py.File(path, "r") as file:
        file.visititems(read)
    return count
