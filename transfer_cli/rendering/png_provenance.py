"""PNG files that record which command wrote them, so that a command replaces its own drawings and nothing else."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from transfer_cli.errors import InputError
from transfer_cli.io.atomic import atomic_write, check_writable

BACKBONES = "transfer-cli backbones"
COMPARE = "transfer-cli compare"
EVALUATE = "transfer-cli evaluate --perturb"
EXPLAIN = "transfer-cli explain"
INSPECT = "transfer-cli inspect"
LEARNING_CURVE = "transfer-cli learning-curve"
LR_FIND = "transfer-cli lr-find"
MAP = "transfer-cli map"
PREDICT = "transfer-cli predict --sheet"
PREVIEW = "transfer-cli preview"
RANK_LAYERS = "transfer-cli rank --layers"
SIMILAR = "transfer-cli similar"


def save_signed(drawing: Image.Image, target: Path, command: str) -> None:
    """Write a drawing as PNG with `command` as its ``Software``."""
    info = PngInfo()
    info.add_text("Software", command)
    with atomic_write(target) as draft:
        drawing.save(draft, format="PNG", pnginfo=info)


def check_png_target(target: Path, command: str) -> None:
    """Raise InputError or OutputError unless a PNG can be written to `target` or replaces one of the same command."""
    if target.suffix.lower() != ".png":
        raise InputError(f"{target} is not a PNG file. Expected a name that ends in .png.")
    check_writable(target, is_ours=made_by(target) == command)


def made_by(path: Path) -> str | None:
    """Return the ``Software`` entry of a PNG; None if it has none or is not a PNG."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            software = image.info.get("Software")
            return software if isinstance(software, str) else None
    except (OSError, SyntaxError, ValueError):
        return None
