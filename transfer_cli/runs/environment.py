"""The environment of a run, which its results may depend on: versions, machine, device and git commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

_PACKAGES = (
    "transfer-cli",
    "tensorflow",
    "keras",
    "scikit-learn",
    "numpy",
    "pillow",
    "pyarrow",
    "skops",
    "opencv-python-headless",
    "ai-edge-litert",
    "openvino",
)


def environment(seed: int, device: str) -> dict[str, Any]:
    """Return the content of environment.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": {
            name: next((found.version for found in metadata.distributions(name=name)), None) for name in _PACKAGES
        },
        "device": device,
        "seed": seed,
        "git": _git_commit(),
    }


def _git_commit() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
