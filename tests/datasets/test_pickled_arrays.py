from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.made_files import array, dictionary, numbers, rows_of, text, texts
from transfer_cli.datasets.pickled_arrays import read_pickled_data


def test_pickle_of_python_2_is_read_as_python_reads_it() -> None:
    rows = rows_of(3, 1)
    pickled = dictionary(
        data=array(rows), labels=numbers([6, 9, 255]), filenames=texts(["a.png", "\xe9"]), batch_label=text("one")
    )
    found = read_pickled_data(pickled)
    np.testing.assert_array_equal(found[b"data"], rows)
    expected = pickle.loads(pickled, encoding="bytes")
    np.testing.assert_array_equal(expected.pop(b"data"), found.pop(b"data"))
    assert found == expected
    assert found[b"filenames"] == [b"a.png", b"\xe9"]


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_data_of_python_3_is_read(protocol: int) -> None:
    values = {"one": [1, -2, 3000, 2**40, 0.5, None, True, False], "two": (1, (2, 3), (), ("a", "b", "c", "d"))}
    found = read_pickled_data(pickle.dumps({key.encode(): value for key, value in values.items()}, protocol=4))
    assert found[b"one"] == values["one"]
    assert found[b"two"] == (1, (2, 3), (), (b"a", b"b", b"c", b"d"))
    assert read_pickled_data(pickle.dumps({"key": [1]}, protocol=protocol)) == {b"key": [1]}


class Hostile:
    """Unpickling an object of this class creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_hostile_pickle_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    pickled = pickle.dumps({b"data": Hostile(planted)}, protocol=protocol)
    with pytest.raises(ValueError, match=r"refused|which plain data does not need"):
        read_pickled_data(pickled)
    assert not planted.exists()
    # Counter-check: Python's unpickler runs it.
    pickle.loads(pickled)
    assert planted.is_dir()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"", "pickle exhausted"),
        (b"\x80\x02}", "pickle exhausted"),
        (b"\x80\x02K\x01.", "does not hold a dictionary"),
        (b"\x80\x02}(K\x01K\x02u.", "does not hold a dictionary"),
        (b"\x80\x02}(U\x01a", "pickle exhausted"),
        (b"\x80\x02}U\x01au.", "not a well-formed pickle"),
        (b"\x80\x02K\x01K\x02a.", "not a list"),
        (b"\x80\x02](U\x01aK\x01u.", "not a dictionary"),
        (b"\x80\x02cos\nsystem\n.", r"import os\.system, which was refused; no code"),
        (b"\x80\x02cnumpy\nload\n.", r"import numpy\.load"),
        (b"\x80\x02}K\x01\x85R.", "calls something that was refused"),
        (b"\x80\x02cnumpy\nndarray\nK\x01\x85R.", "calls something that was refused"),
        (b"\x80\x02cnumpy\nndarray\n}b.", "changes something that was refused"),
        (b"\x80\x02h\x05.", "not a well-formed pickle"),
        (dictionary(data=array(rows_of(2, 1), kind="O")), "not of uint8"),
        (dictionary(data=array(rows_of(2, 1), kind="f4")), "not of uint8"),
        (dictionary(data=array(rows_of(2, 1), count=3)), "does not fit its bytes"),
        (dictionary(data=array(rows_of(2, 1), count=-2)), "does not fit its bytes"),
    ],
)
def test_other_pickles_are_refused(pickled: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_pickled_data(pickled)
