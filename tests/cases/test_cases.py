"""Cases whose own script cannot end with 0 after an image was read: run here with an exit code that can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.parent.name for path in HERE.glob("*/run.sh")))
def test_case_exits_with_0(name: str, shared: Path) -> None:
    environment = {**os.environ, "CASES": str(shared / "cases"), "PY": sys.executable}
    command = ["bash", HERE / name / "run.sh"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_looks_of_different_images_exits_with_1(shared: Path, tmp_path: Path) -> None:
    """Planted fault: an image that is read as its negative."""
    for name, level in (("odd", 20), ("plain", 235)):
        Image.fromarray(np.full((40, 40, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    words = [sys.executable, HERE / "looks.py", shared / "cases", "odd.png", "plain.png"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (1, "")
