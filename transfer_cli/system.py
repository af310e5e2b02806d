"""What the machine gives to this process: processors and memory."""

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

_KEPT_BLOCK = 24 << 20
_IMPORTED = time.monotonic()


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return what the processor calls itself, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep_freed_memory() -> None:
    """Let the memory of one picture serve the next; a process may ask for it as often as it likes.

    glibc gives large blocks back to the system, which has to clear them again: up to half of the time of a small
    picture. Once a block has been given back, glibc keeps those of up to that size (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(_KEPT_BLOCK, np.uint8)


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes; 0 where the system does not say it."""
    if resource is None:
        return 0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def seconds_running() -> float:
    """Return how long ago this process began; where the system does not say it, how long ago it came here."""
    try:
        # Field 22 of stat, counted behind the name, which may hold anything: ticks from the start of the system.
        ticks = int(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED
