from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import MARK, SEAL, is_sealed, must_be_whole, seal


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"before " + SEAL.encode() + b" behind")
    seal(path)
    return path


def test_a_sealed_file_is_whole(sealed: Path) -> None:
    must_be_whole(sealed)
    assert is_sealed(sealed)


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(sealed: Path) -> None:
    open_ = b"before " + SEAL.encode() + b" behind"
    assert sealed.read_bytes() == open_.replace(SEAL.encode(), MARK + hashlib.sha256(open_).hexdigest().encode())


def test_every_changed_byte_is_seen(sealed: Path) -> None:
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match="altered"):
            must_be_whole(sealed)


@pytest.mark.parametrize("cut", [1, 7, 40, 90])
def test_a_file_that_was_cut_off_is_seen(sealed: Path, cut: int) -> None:
    sealed.write_bytes(sealed.read_bytes()[:-cut])
    with pytest.raises(ModelError):
        must_be_whole(sealed)


def test_a_byte_more_is_seen(sealed: Path) -> None:
    sealed.write_bytes(sealed.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="altered"):
        must_be_whole(sealed)


@pytest.mark.parametrize("data", [b"", b"no seal", SEAL.encode() * 2, MARK + b"0" * 63])
def test_a_file_without_one_place_for_its_digest_is_none_of_ours(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        must_be_whole(path)


@pytest.mark.parametrize("data", [b"no seal", SEAL.encode() * 2, MARK + b"1" * 64])
def test_only_an_open_place_can_be_sealed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="no place"):
        seal(path)
    assert path.read_bytes() == data


def test_a_missing_file_is_no_file_of_ours(tmp_path: Path) -> None:
    assert not is_sealed(tmp_path / "nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        must_be_whole(tmp_path / "nothing")
