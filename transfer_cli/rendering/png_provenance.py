"""Drawings that say which command made them, so that one replaces another and never a person's own picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from transfer_cli.errors import InputError
from transfer_cli.io.atomic import must_be_writable, written_whole

EXPLAIN = "transfer-cli explain"
MAP = "transfer-cli map"
SIMILAR = "transfer-cli similar"


def save_signed(drawing: Image.Image, target: Path, command: str) -> None:
    """Write a drawing as PNG, with the command that made it."""
    info = PngInfo()
    info.add_text("Software", command)
    with written_whole(target) as draft:
        drawing.save(draft, format="PNG", pnginfo=info)


def must_be_replaceable(target: Path, command: str) -> None:
    """Raise InputError or OutputError unless `target` is a place for a PNG, or an earlier one of the same command."""
    if target.suffix.lower() != ".png":
        raise InputError(f"{target} is no PNG. Expected a name that ends in .png.")
    if made_by(target) != command:
        must_be_writable(target)


def made_by(path: Path) -> str | None:
    """Return what a PNG says it was made by; None where it says nothing or is none."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            said = image.info.get("Software")
            return said if isinstance(said, str) else None
    except (OSError, SyntaxError, ValueError):
        return None
