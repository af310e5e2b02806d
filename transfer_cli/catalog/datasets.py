"""Public data sets that courses use: where they are, and the digest by which a download is recognised.

Addresses and digests are those of `keras.datasets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transfer_cli.catalog.lookup import lookup


@dataclass(frozen=True)
class DataSetSpec:
    """A data set.

    Attributes
    ----------
    name : str
    summary : str
    url : str
        Address of its file.
    sha256 : str
        Digest of the file.
    bytes : int
        Approximate size of the file, which bounds a download.
    format : {"mnist", "cifar10", "cifar100"}
        How it is read (`datasets.readers`).
    """

    name: str
    summary: str
    url: str
    sha256: str
    bytes: int
    format: Literal["mnist", "cifar10", "cifar100"]

    @property
    def file(self) -> str:
        """Name of its file."""
        return self.url.rpartition("/")[2]


_ROWS = (
    DataSetSpec(
        "mnist",
        "70,000 handwritten digits in grey, 28 pixels, 10 classes",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        11_500_000,
        "mnist",
    ),
    DataSetSpec(
        "cifar10",
        "60,000 photographs, 32 pixels, 10 classes",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        171_000_000,
        "cifar10",
    ),
    DataSetSpec(
        "cifar100",
        "60,000 photographs, 32 pixels, 100 classes (the fine labels)",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        170_000_000,
        "cifar100",
    ),
)
_BY_NAME = {row.name: row for row in _ROWS}


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return tuple(_BY_NAME)


def find(name: str) -> DataSetSpec:
    """Return the data set called `name`; raise UnknownNameError if there is none."""
    return lookup(_BY_NAME, "data set", name)
