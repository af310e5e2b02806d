"""CPU and memory of this process."""

from __future__ import annotations

import os
import platform
import sys
import time
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


def keep_freed_memory() -> None:
    """Make malloc reuse the memory of one image for the next; may be called any number of times.

    glibc returns large blocks to the system, which clears them again: up to half of the decoding time of a small image.
    After one block was freed, glibc keeps blocks up to its size (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(_MALLOC_BLOCK, np.uint8)


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
