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
from transfer_cli.io.untrusted.npz_file import must_be_numbers, read_arrays


def stored(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def saying(shape: tuple[int, ...], dtype: str = "<f8", data: bytes = b"") -> bytes:
    """Return an array's file whose header says something else than it holds."""
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
def test_arrays_come_back_as_they_were(array: NDArray[np.generic], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=array)
    found = read_arrays(tmp_path / "x.npz", "a", optional=("b",))
    assert list(found) == ["a"]
    assert (found["a"].dtype, found["a"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found["a"], array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (saying((10**12,)), "says to hold float64 of"),
        (saying((-1, -8), data=bytes(64)), "negative"),
        (saying((10**15,), "<U0"), "no array of numbers"),
        (saying((1,), "|O", b"\x80\x04K\x01."), "no array of numbers"),
        (saying((1,), [("a", "<f8")], bytes(8)), "no array of numbers"),  # type: ignore[arg-type]
        (saying((2,), data=bytes(100)), "is not what it holds"),
        (b"\x80\x04K\x01.", "magic string"),
        (stored(np.arange(3))[:-1], "is not what it holds"),
    ],
    ids=["large", "negative", "no width", "objects", "records", "more", "pickle", "cut"],
)
def test_what_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(zip_of({"a.npy": data}))
    with pytest.raises(ModelError, match=reason):
        read_arrays(tmp_path / "x.npz", "a")


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "x.npz", tmp_path / "marker"
    np.savez(path, a=np.array([Payload(marker)], object))
    with pytest.raises(ModelError, match="no array of numbers; nothing of it was run"):
        read_arrays(path, "a")
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(ModelError, match="could not be read"):
        read_arrays(path, "a")
    assert not marker.exists()
    # The twin: whoever lets NumPy unpickle runs it.
    np.load(path, allow_pickle=True)
    assert marker.is_dir()


def test_other_names_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(1), c=np.zeros(1))
    with pytest.raises(ModelError, match=r"'c\.npy' does not belong there"):
        read_arrays(tmp_path / "x.npz", "a")
    with pytest.raises(ModelError, match="it has no b"):
        read_arrays(tmp_path / "x.npz", "a", "b", "c")


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ModelError, match="not a number"):
        must_be_numbers(Path("x"), np.array([1, np.nan]))
    with pytest.raises(ModelError, match="not a number"):
        must_be_numbers(Path("x"), np.array(["a"]))
    assert must_be_numbers(Path("x"), np.array([-np.inf])) is not None
