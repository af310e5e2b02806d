"""Paths on stdin: groups that end when the input pauses, encodings, line ends."""

from __future__ import annotations

import codecs
import errno
from collections.abc import Callable, Iterable
from queue import Queue

import pytest

from transfer_cli.errors import InputError
from transfer_cli.io.path_stream import path_groups

NAMES = ["a.jpg", "ä b.jpg", "日/c.jpg"]


def reader(chunks: Iterable[bytes]) -> Callable[[], bytes]:
    iterator = iter(chunks)
    return lambda: next(iterator, b"")


def paths_of(data: bytes, size: int = 1 << 16) -> list[str]:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    return [path for group in path_groups(reader(chunks)) for path in group]


@pytest.mark.parametrize("size", [1, 3, 1 << 16])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_path_groups_any_encoding_and_line_end(mark: bytes, encoding: str, end: str, size: int) -> None:
    text = end.join(NAMES)
    assert paths_of(mark + text.encode(encoding), size) == NAMES
    assert paths_of(mark + f"{text}{end}{end}".encode(encoding), size) == NAMES


def test_path_groups_keep_bytes_that_are_not_utf8_and_outer_blanks() -> None:
    odd = b" odd \xff.jpg "
    assert paths_of(b"\n \n" + odd + b"\n") == [odd.decode("utf-8", "surrogateescape")]


@pytest.mark.parametrize("data", [b"", b"\n\r\n", codecs.BOM_UTF8])
def test_path_groups_nothing(data: bytes) -> None:
    assert list(path_groups(reader([data] if data else []))) == []


def test_path_groups_end_when_the_input_pauses() -> None:
    """Each question is asked after the answer to the one before."""
    questions: Queue[bytes] = Queue()
    questions.put(b"one.jpg\n")
    answered = []
    for group in path_groups(questions.get, pause=0.01):
        answered.append(list(group))
        for more in [[b"two.jpg\nthree.jpg\n"], [b"four", b""], []][len(answered) - 1]:
            questions.put(more)
    assert answered == [["one.jpg"], ["two.jpg", "three.jpg"], ["four"]]


def test_path_groups_without_a_pause_are_one() -> None:
    assert [list(group) for group in path_groups(reader([b"a\nb", b"\nc\n"] * 50), pause=5)] == [["a", "b", "c"] * 50]


def test_path_groups_error_of_the_input_is_raised_after_the_paths_before_it() -> None:
    """Without an end in every case, a closed stdin would be waited for; without the error, a part would be the list."""
    chunks = [b"a.jpg\nb.jpg\nc"]
    found: list[str] = []

    def read() -> bytes:
        if chunks:
            return chunks.pop()
        raise OSError(errno.EIO, "Input/output error")

    def read_all() -> None:
        for group in path_groups(read):
            found.extend(group)

    with pytest.raises(InputError, match=r"^stdin cannot be read: Input/output error\.$"):
        read_all()
    assert found == ["a.jpg", "b.jpg"]
