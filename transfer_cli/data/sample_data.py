"""The sample pictures that come with the program."""

from __future__ import annotations

import shutil
from pathlib import Path

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import written_whole

_NAME = "patterns"


def sample_folder() -> Path:
    """Return where the sample pictures are: in the package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "sample_data" / _NAME
    return inside if inside.is_dir() else package.parent / "sample_data" / _NAME


def copy_to(target: Path) -> Path:
    """Copy the sample pictures to the new folder `target` and return it.

    Raises
    ------
    OutputError
        When `target` is there already, or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target} is there already.", hint="Give the name of a folder that is not there yet.")
    with written_whole(target) as draft:
        shutil.copytree(sample_folder(), draft)
    return target
