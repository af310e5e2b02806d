"""CPU and memory of this process."""

from __future__ import annotations

import ctypes
import io
import os
import platform
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MALLOC_BLOCK = 24 << 20
_IMPORTED = time.monotonic()


def cpu_count() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Return the name of the CPU, or its architecture if the system does not tell the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def use_utf8_mode() -> None:
    """Start this program again in Python's UTF-8 mode if the locale has another encoding for the names of files.

    Otherwise the name of a class or a file would be other text there than everywhere else, and a run made under one
    locale would not fit its own digests under another.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or os.environ.get("PYTHONUTF8") == "1" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def hide_library_warnings() -> None:
    """Print no warning of a library, which is about its own code; Python's -W and PYTHONWARNINGS still show them.

    What a user should know is reported by this program.
    """
    if not sys.warnoptions:
        warnings.showwarning = lambda *warning, **options: None


def open_closed_streams() -> None:
    """Open the standard streams that were closed when this program was started, such as by ``>&-`` or a service.

    Otherwise the next file that is opened would get the number of such a stream, and what a library writes to "the
    terminal" would go into it. Reading ends at once, messages are lost, and writing a result fails: it must not be
    lost without a word.
    """
    # Opened to read, so that writing to stdout is an error.
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number and not _is_open(number):
                os.dup2(descriptor, number)
                os.close(descriptor)
                descriptor = number
            mode = "r" if name == "stdin" else "w"
            raw = io.FileIO(descriptor, mode, closefd=False)
            buffer = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, "utf-8", "surrogateescape"))


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def keep_freed_memory() -> None:
    """Make malloc reuse the memory of one image for the next; may be called any number of times.

    glibc returns large blocks to the system, which clears them again: up to half of the decoding time of a small image.
    After one block was freed, glibc keeps blocks up to its size (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(_MALLOC_BLOCK, np.uint8)


def return_freed_memory() -> None:
    """Make malloc return the freed memory of all threads to the system: it keeps gigabytes after some large images."""
    # Only glibc has malloc_trim, and only it needs it.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int:
    """Return the peak memory of this process in bytes; 0 if the system does not tell it."""
    if resource is None:
        return 0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def process_age_seconds() -> float:
    """Return the seconds since this process started, or since this module was imported if the system does not tell."""
    try:
        # Field 22 of stat, counted from the end of the process name: ticks since the system started.
        ticks = int(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED
