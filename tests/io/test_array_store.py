from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.errors import OutputError
from transfer_cli.io import array_store
from transfer_cli.io.array_store import Scratch


def test_memory_first_then_a_file_that_is_gone_at_the_end(tmp_path: Path) -> None:
    with Scratch(tmp_path, memory_bytes=100) as place:
        first = place.array((10, 8), np.uint8)
        assert not isinstance(first, np.memmap)
        second = place.array((10, 8), np.uint8)
        assert isinstance(second, np.memmap)
        second[:] = 7
        assert len(list(tmp_path.glob(".scratch-*/*.bin"))) == 1
        place.give_back(first)
        assert not isinstance(place.array((100,), np.uint8), np.memmap)
        assert second.sum() == 560
        place.give_back(second)
        assert not list(tmp_path.glob(".scratch-*/*.bin"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with Scratch(tmp_path, 0) as place, pytest.raises(OutputError, match=r"do not fit beside .*No space left"):
        place.array((5,), np.float32)


def test_reserving_without_help_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    file = io.BytesIO()
    array_store._reserve(file, 2**24 + 5)
    assert file.tell() == 2**24 + 5
