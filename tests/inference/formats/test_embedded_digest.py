from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.embedded_digest import (
    DIGEST_MARK,
    DIGEST_PLACEHOLDER,
    check_digest,
    embed_digest,
)
from transfer_cli.io.digests import has_digest

CONTENT = b"before " + DIGEST_PLACEHOLDER.encode() + b" after"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    embed_digest(path)
    return path


def test_check_digest_unchanged_file_passes(file: Path) -> None:
    check_digest(file)
    assert has_digest(file)


def test_embed_digest_is_that_of_the_file_with_zeros(file: Path) -> None:
    digest = DIGEST_MARK + hashlib.sha256(CONTENT).hexdigest().encode()
    assert file.read_bytes() == CONTENT.replace(DIGEST_PLACEHOLDER.encode(), digest)


def test_check_digest_every_changed_byte_is_detected(file: Path) -> None:
    original = file.read_bytes()
    for offset in range(len(original)):
        file.write_bytes(original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :])
        with pytest.raises(ModelError, match="altered"):
            check_digest(file)


@pytest.mark.parametrize("cut", [1, 6, 40, 90])
def test_check_digest_truncated_file_is_detected(file: Path, cut: int) -> None:
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(ModelError):
        check_digest(file)


def test_check_digest_additional_byte_is_detected(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="altered"):
        check_digest(file)


@pytest.mark.parametrize("content", [b"", b"no digest", DIGEST_PLACEHOLDER.encode() * 2, DIGEST_MARK + b"0" * 63])
def test_check_digest_no_or_several_digests_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        check_digest(path)


@pytest.mark.parametrize("content", [b"no digest", DIGEST_PLACEHOLDER.encode() * 2, DIGEST_MARK + b"1" * 64])
def test_embed_digest_needs_one_placeholder(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no placeholder"):
        embed_digest(path)
    assert path.read_bytes() == content


def test_check_digest_missing_file_is_a_model_error(tmp_path: Path) -> None:
    assert not has_digest(tmp_path / "nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        check_digest(tmp_path / "nothing")
