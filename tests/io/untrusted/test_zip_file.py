"""Untrusted zip files."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile_files import zip_of
from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.zip_file import MAX_MEMBERS, is_plain_name, list_members

BOMB = bytes(5_000_000)


def anything(name: str) -> bool:
    return True


def entry(name: str, mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, "/etc/passwd")

    return make


def holding(*names: str, compression: int = zipfile.ZIP_STORED, data: bytes = b"x") -> Callable[[Path], None]:
    return lambda path: path.write_bytes(zip_of(dict.fromkeys(names, data), compression=compression)) and None


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "2")


def declaring(length: int) -> Callable[[Path], None]:
    """Return a function that writes a zip file whose directory claims a longer member than it has."""

    def make(path: Path) -> None:
        data = bytearray(zip_of({"a": b"x" * 10}))
        place = data.index(b"PK\x01\x02")
        data[place + 24 : place + 28] = struct.pack("<I", length)
        path.write_bytes(data)

    return make


def encrypted(path: Path) -> None:
    data = bytearray(zip_of({"a": b"x"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def after_something(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(512) + zip_of({"a": b"x"}))


def cut_after_another(path: Path) -> None:
    """Truncate a zip file whose last member is itself a zip file."""
    inner = zip_of({"b": b"x"})
    whole = zip_of({"a": inner})
    path.write_bytes(whole[: whole.index(inner) + len(inner)])


def truncated(path: Path) -> None:
    path.write_bytes(zip_of({"a": b"x" * 1000})[:-10])


HOSTILE = {
    "up": (holding("../x"), "'../x' is not a safe path"),
    "within": (holding("a/../../x"), "is not a safe path"),
    "absolute": (holding("/abs"), "is not a safe path"),
    "backslash": (holding("..\\x"), "is not a safe path"),
    "drive": (holding("c:x"), "is not a safe path"),
    "folder": (holding("a/"), "is not a safe path"),
    "link": (entry("a", stat.S_IFLNK | 0o777), "'a' is a link"),
    "pipe": (entry("a", stat.S_IFIFO | 0o666), "'a' is not a regular file"),
    "twice": (twice, "contains 'a' twice"),
    "in two cases": (holding("a", "A"), "contains 'A' twice"),
    "compressed": (
        holding("a", compression=zipfile.ZIP_DEFLATED, data=BOMB),
        "is compressed, which this",
    ),
    "declared": (declaring(2**31), "would expand from 10 to 2,147,483,648 bytes"),
    "encrypted": (encrypted, "'a' is encrypted"),
    "many": (holding(*map(str, range(MAX_MEMBERS + 1)), data=b""), "has 20,001 members"),
    "something else": (after_something, "other data precedes"),
    "cut after another": (cut_after_another, "it is truncated, or other data precedes"),
    "truncated": (truncated, "could not be read as a zip file"),
    "no zip": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "could not be read as a zip file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_list_members_hostile_file_raises(name: str, tmp_path: Path) -> None:
    make, reason = HOSTILE[name]
    make(tmp_path / "x.zip")
    with pytest.raises(ModelError, match=reason):
        list_members(tmp_path / "x.zip", is_expected=anything)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_list_members_zip_bomb_raises_when_compression_is_allowed(tmp_path: Path) -> None:
    holding("a", compression=zipfile.ZIP_DEFLATED, data=BOMB)(tmp_path / "x.zip")
    with pytest.raises(ModelError, match=r"would expand from 4,8\d\d to 5,000,000 bytes"):
        list_members(tmp_path / "x.zip", is_expected=anything, compressed=True)
    # Many small members must not expand more than one large one.
    holding(*map(str, range(500)), compression=zipfile.ZIP_DEFLATED, data=bytes(10_000))(tmp_path / "x.zip")
    with pytest.raises(ModelError, match="to 5,000,000 bytes"):
        list_members(tmp_path / "x.zip", is_expected=anything, compressed=True)
    holding("a", compression=zipfile.ZIP_BZIP2)(tmp_path / "x.zip")
    with pytest.raises(ModelError, match="compressed by an unsupported method"):
        list_members(tmp_path / "x.zip", is_expected=anything, compressed=True)


def test_list_members_valid_file_is_accepted(tmp_path: Path) -> None:
    holding("a", "b/c.h5")(tmp_path / "x.zip")
    assert [each.filename for each in list_members(tmp_path / "x.zip", is_expected=anything)] == ["a", "b/c.h5"]
    with pytest.raises(ModelError, match=r"'b/c\.h5' is not expected there"):
        list_members(tmp_path / "x.zip", is_expected=is_plain_name)
    holding("a", compression=zipfile.ZIP_DEFLATED, data=b'{"a": 1}\n' * 500)(tmp_path / "x.zip")
    assert list_members(tmp_path / "x.zip", is_expected=anything, compressed=True)
