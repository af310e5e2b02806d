"""Arrays in memory, then in memory-mapped files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.errors import OutputError
from transfer_cli.io import array_store
from transfer_cli.io.array_store import ArrayStore


def test_array_store_full_memory_uses_a_file_that_is_removed(tmp_path: Path) -> None:
    with ArrayStore(tmp_path, memory_bytes=100) as store:
        first = store.array((10, 8), np.uint8)
        assert not isinstance(first, np.memmap)
        second = store.array((10, 8), np.uint8)
        assert isinstance(second, np.memmap)
        second[:] = 7
        assert len(list(tmp_path.glob(".arrays-*/*.bin"))) == 1
        store.release(first)
        assert not isinstance(store.array((100,), np.uint8), np.memmap)
        assert second.sum() == 560
        store.release(second)
        assert not list(tmp_path.glob(".arrays-*/*.bin"))
    assert list(tmp_path.iterdir()) == []


def test_array_full_disk_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with ArrayStore(tmp_path, 0) as store, pytest.raises(OutputError, match=r"There is no room for .*No space left"):
        store.array((5,), np.float32)


def test_reserve_without_posix_fallocate_writes_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    file = io.BytesIO()
    array_store._reserve(file, 2**24 + 5)
    assert file.tell() == 2**24 + 5
