"""Standard streams that are closed, and shortages of files and memory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from transfer_cli.cli.main import main
from transfer_cli.data import decoding
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import ModelError, ShortageError

START = "from transfer_cli.cli.main import main; main()"


def start(redirections: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with streams that a shell has closed."""
    shell = f'exec "$0" -c "{START}" "$@" {redirections}'
    return subprocess.run(["sh", "-c", shell, sys.executable, *words], capture_output=True, timeout=120, check=False)


@pytest.mark.skipif(os.name != "posix", reason="closes streams by a shell")
@pytest.mark.parametrize(
    ("redirections", "words", "code"),
    [
        ("<&-", ["recipes", "list"], 0),
        ("2>&-", ["recipes", "list"], 0),
        ("<&- 2>&-", ["recipes", "list"], 0),
        (">&-", ["recipes", "list"], 3),
        (">&- 2>&-", ["recipes", "list"], 3),
        (">&-", ["--version"], 3),
        ("<&- >&- 2>&-", ["recipes", "show", "nonsense"], 2),
    ],
)
def test_closed_streams_give_the_right_exit_code(redirections: str, words: list[str], code: int) -> None:
    done = start(redirections, *words)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    if code == 3 and "2>&-" not in redirections:
        assert b"error: standard output: Bad file descriptor.\n" in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "x"), "The system allows no more open files at a.png: Too many open files."),
        (OSError(errno.ENFILE, "x"), "The system allows no more open files at a.png: "),
        (OSError(errno.ENOMEM, "x"), "There is not enough memory at a.png: "),
        (MemoryError(), "There is not enough memory at a.png: the system gave no more memory."),
        (RuntimeError("can't start new thread"), "There is not enough memory at a.png: can't start new thread."),
        (OSError("out of memory"), "There is not enough memory at a.png: out of memory."),
        (
            ImportError("cv2.so: failed to map segment from shared object"),
            "There is not enough memory at a.png: cv2.so",
        ),
    ],
)
def test_shortage_error_says_what_is_short(error: Exception, message: str) -> None:
    found = ShortageError.of(error, "a.png")
    assert found is not None
    assert str(found).startswith(message)
    assert found.exit_code == 3
    assert found.hint


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), ValueError("broken"), OSError("broken data stream")])
def test_shortage_error_other_errors_are_none(error: Exception) -> None:
    assert ShortageError.of(error) is None


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "x"), MemoryError(), OSError(errno.ENOMEM, "x")])
@pytest.mark.parametrize("place", ["read", "decode"])
def test_batches_shortage_is_no_broken_image(
    error: Exception, place: str, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    if place == "read":
        monkeypatch.setattr("builtins.open", fail)
    else:
        monkeypatch.setattr(decoding, "decode_views", fail)
    paths = [str(next(colours.rglob("*.png")))]
    with pytest.raises(ShortageError):
        list(batches(paths, size=8, resize="squash", batch_size=4))


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "x"), MemoryError()])
def test_main_shortage_is_told_with_exit_code_3(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("transfer_cli.io.cache.Cache.of_user", fail)
    result = CliRunner().invoke(main, ["cache", "info"])
    assert result.exit_code == 3
    assert result.stderr.startswith("error: The")
    assert "ulimit" in result.stderr


def test_main_library_that_finds_no_memory_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ModelError("the package x is not installed") from ImportError("x.so: cannot allocate memory")

    monkeypatch.setattr("transfer_cli.io.cache.Cache.of_user", fail)
    result = CliRunner().invoke(main, ["cache", "info"])
    assert result.exit_code == 3
    assert result.stderr.startswith("error: There is not enough memory: x.so: cannot allocate memory.")
