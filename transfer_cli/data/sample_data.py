"""The sample images that are shipped with the program."""

from __future__ import annotations

import shutil
from pathlib import Path

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import atomic_write


def sample_folder() -> Path:
    """Return the folder of the sample images: in the package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "sample_data" / "patterns"
    return inside if inside.is_dir() else package.parent / "sample_data" / "patterns"


def copy_to(target: Path) -> Path:
    """Copy the sample images to the new folder `target` and return it.

    Raises
    ------
    OutputError
        If `target` exists, or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target} already exists.", hint="Choose a new folder name.")
    with atomic_write(target) as draft:
        shutil.copytree(sample_folder(), draft)
    return target
