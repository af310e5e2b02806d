"""Untrusted NumPy arrays."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy
from numpy.typing import NDArray

from tests.hostile_files import Payload, zip_of
from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.npz_file import check_numeric, read_arrays


def stored(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f8", data: bytes = b"") -> bytes:
    """Return an array's file whose header differs from its content."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float16).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array("softmax"),
        np.zeros((0, 4), np.uint64),
        np.array([True, False]),
        np.array(3.5),
    ],
    ids=repr,
)
def test_read_arrays_returns_what_was_saved(array: NDArray[np.generic], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=array)
    arrays = read_arrays(tmp_path / "x.npz", "a", optional=("b",))
    assert list(arrays) == ["a"]
    assert (arrays["a"].dtype, arrays["a"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(arrays["a"], array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (claiming((10**12,)), "its header claims float64"),
        (claiming((-1, -8), data=bytes(64)), "negative"),
        (claiming((10**15,), "<U0"), "not an array of numbers"),
        (claiming((1,), "|O", b"\x80\x04K\x01."), "not an array of numbers"),
        (claiming((1,), [("a", "<f8")], bytes(8)), "not an array of numbers"),  # type: ignore[arg-type]
        (claiming((2,), data=bytes(100)), "differs from its content"),
        (b"\x80\x04K\x01.", "magic string"),
        (stored(np.arange(3))[:-1], "differs from its content"),
    ],
    ids=["large", "negative", "no width", "objects", "records", "more", "pickle", "cut"],
)
def test_read_arrays_hostile_header_raises(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(zip_of({"a.npy": data}))
    with pytest.raises(ModelError, match=reason):
        read_arrays(tmp_path / "x.npz", "a")


def test_read_arrays_pickle_is_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "x.npz", tmp_path / "marker"
    np.savez(path, a=np.array([Payload(marker)], object))
    with pytest.raises(ModelError, match="not an array of numbers; no code in it was run"):
        read_arrays(path, "a")
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(ModelError, match="could not be read"):
        read_arrays(path, "a")
    assert not marker.exists()
    # Planted fault: NumPy with allow_pickle runs it.
    np.load(path, allow_pickle=True)
    assert marker.is_dir()


def test_read_arrays_unexpected_name_raises(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(1), c=np.zeros(1))
    with pytest.raises(ModelError, match=r"'c\.npy' is not expected there"):
        read_arrays(tmp_path / "x.npz", "a")
    with pytest.raises(ModelError, match="it lacks b"):
        read_arrays(tmp_path / "x.npz", "a", "b", "c")


def test_check_numeric_text_or_nan_raises() -> None:
    with pytest.raises(ModelError, match="text or NaN"):
        check_numeric(Path("x"), np.array([1, np.nan]))
    with pytest.raises(ModelError, match="text or NaN"):
        check_numeric(Path("x"), np.array(["a"]))
    assert check_numeric(Path("x"), np.array([-np.inf])) is not None


@pytest.mark.parametrize(
    "shape", ["-" * 9000 + "1", "~" * 9000 + "1", "(" * 150 + "1" + ",)" * 150, "[" * 9000, "1" + "+1" * 4400]
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_read_arrays_header_that_makes_python_recurse_is_refused(
    shape: str, version: tuple[int, int], tmp_path: Path
) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    data = npy.magic(*version) + length + header
    (tmp_path / "x.npz").write_bytes(zip_of({"a.npy": data}))
    with pytest.raises(ModelError, match=r"could not be read|was refused"):
        read_arrays(tmp_path / "x.npz", "a")
