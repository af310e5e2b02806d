"""Small files in the formats of MNIST and CIFAR, the pickles as Python 2 wrote them."""

from __future__ import annotations

import io
import struct
import tarfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import datasets
from transfer_cli.catalog.datasets import DataSetSpec

Pixels = NDArray[np.uint8]


def text(value: str) -> bytes:
    """Return the instructions for a string of Python 2."""
    return b"U" + bytes([len(value)]) + value.encode("latin1")


def numbers(values: list[int]) -> bytes:
    """Return the instructions for a list of small numbers."""
    return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"


def texts(values: list[str]) -> bytes:
    return b"](" + b"".join(map(text, values)) + b"e"


def array(rows: Pixels, kind: str = "u1", count: int | None = None) -> bytes:
    """Return the instructions for an array of two dimensions, `count` rows if it is to lie."""
    shape = b"".join(b"J" + struct.pack("<i", side) for side in (count or len(rows), rows.shape[1]))
    content = rows.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
        b"(K\x01" + shape + b"\x86cnumpy\ndtype\n" + text(kind) + b"K\x00K\x01\x87R"
        b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<i", len(content)) + content + b"tb"
    )


def dictionary(**items: bytes) -> bytes:
    """Return a pickle of protocol 2 with a dictionary, values as instructions."""
    pairs = b"".join(text(name) + b"q\x02" + value for name, value in items.items())
    return b"\x80\x02}q\x00(" + pairs + b"u."


def archive(folder: str, files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return content.getvalue()


def rows_of(count: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 3 * 32 * 32), np.uint8)


CIFAR10_NAMES = [f"kind{number}" for number in range(10)]
LABELS = [number % 10 for number in range(20)]


def cifar10(**replaced: bytes) -> bytes:
    batches = {
        f"data_batch_{number}": dictionary(data=array(rows_of(20, number)), labels=numbers(LABELS))
        for number in range(1, 6)
    }
    test = dictionary(data=array(rows_of(20, 9)), labels=numbers(LABELS))
    meta = dictionary(num_vis=b"M\x00\x0c", label_names=texts(CIFAR10_NAMES))
    return archive("cifar-10-batches-py", {**batches, "test_batch": test, "batches.meta": meta, **replaced})


def cifar100() -> bytes:
    parts = {
        part: dictionary(
            data=array(rows_of(4, seed)), fine_labels=numbers([0, 99, 0, 1]), coarse_labels=numbers([0] * 4)
        )
        for part, seed in (("train", 3), ("test", 4))
    }
    meta = dictionary(fine_label_names=texts([f"fine_{number}" for number in range(100)]))
    return archive("cifar-100-python", {**parts, "meta": meta})


def mnist(**replaced: NDArray[np.generic]) -> bytes:
    random, content = np.random.default_rng(5), io.BytesIO()
    arrays: dict[str, NDArray[np.generic]] = {}
    for part, count in (("train", 40), ("test", 20)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez_compressed(content, **{**arrays, **replaced})
    return content.getvalue()


def spec_of(name: str, content: bytes) -> DataSetSpec:
    """Return the row of a data set with the digest of another file."""
    return replace(datasets.find(name), sha256=sha256(content).hexdigest())
