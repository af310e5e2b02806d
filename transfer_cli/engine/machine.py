"""What the machine gives to this process: processors and memory."""

from __future__ import annotations

import os

import numpy as np

_KEPT_BLOCK = 24 << 20


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let the memory of one picture serve the next; a process may ask for it as often as it likes.

    glibc gives large blocks back to the system, which has to clear them again: up to half of the time of a small
    picture. Once a block has been given back, glibc keeps those of up to that size (mallopt(3), M_MMAP_THRESHOLD).
    """
    np.empty(_KEPT_BLOCK, np.uint8)
