"""A full disk is recognised, however a library says it, and the right folder is named."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

import pytest

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import scratch_folder, write_error
from transfer_cli.io.disk_errors import is_full, reason_of
from transfer_cli.io.drafts import temporary_folder

FULL = {
    "system": OSError(errno.ENOSPC, "No space left on device", "x"),
    "numpy": OSError("497664 requested and 139136 written"),
    "hdf5": OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
    "copy of a folder": shutil.Error([("/a/network.keras", "/b", "[Errno 28] No space left on device: '/a'")]),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_full_disk_is_named_in_the_words_of_the_system(error: OSError) -> None:
    assert is_full(error)
    refused = write_error(error, Path("out"))
    assert str(refused) == "out could not be written: No space left on device. No partial files were left."
    assert refused.hint == "Free disk space, then run the same command again."


def test_other_errors_are_not_of_a_full_disk() -> None:
    for error in (OSError(errno.EACCES, "Permission denied"), OSError("odd."), ValueError("28 written")):
        assert not is_full(error)
    assert reason_of(OSError("odd.")) == "odd"
    assert reason_of(shutil.Error([("a", "b", "[Errno 13] Permission denied")])) == "Permission denied"
    assert reason_of(OutputError("x is full: No space left on device.")) == "x is full: No space left on device"


def test_temporary_folder_that_fills_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OutputError) as info, temporary_folder():
        raise FULL["numpy"]
    assert str(info.value).startswith(f"The folder for temporary files, {tmp_path}, is full: No space left on device.")
    assert "export TMPDIR=DIR" in str(info.value.hint)
    with pytest.raises(FileNotFoundError), temporary_folder():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert list(tmp_path.iterdir()) == []


def test_scratch_folder_that_fails_leaves_no_new_folders(tmp_path: Path) -> None:
    def fail(*files: str) -> None:
        with scratch_folder(tmp_path / "a/b", ".draft-") as folder:
            (folder / "file").touch()
            for file in files:
                (tmp_path / file).touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError):
        fail("a/other")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]
