"""Saliency maps drawn over their image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.explain.example_models import noise
from transfer_cli.explain.overlay import overlay, save_overlay
from transfer_cli.rendering.png_provenance import EXPLAIN, made_by


def test_overlay_rising_map_gets_lighter() -> None:
    rise = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)
    colours = overlay(np.full((64, 64, 3), 128, np.uint8), rise)
    assert (colours.shape, colours.dtype) == ((64, 64, 3), np.uint8)
    heat = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)
    lightness = cv2.cvtColor(heat.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, :, 0]
    assert (np.diff(lightness) > 0).all()
    rainbow = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_JET)
    assert (np.diff(cv2.cvtColor(rainbow.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, :, 0]) < 0).any()
    # Yellow where the map is 1, still the grey image where it is 0.
    red, green, blue = colours[32, -1].astype(int)
    assert red > 200
    assert green > 180
    assert blue < 170
    assert np.abs(np.diff(colours[32, 0].astype(int))).max() <= 5


def test_save_overlay_any_file_name_is_shown_whole(tmp_path: Path) -> None:
    image = noise(1, 32)[0]
    map_ = np.ones((2, 2), np.float32)
    sizes = []
    for number, name in enumerate(("plain", "line\nfeed", "odd \udcff byte", "wide " * 100)):
        save_overlay(image, map_, [name, "below"], tmp_path / f"{number}.png")
        with Image.open(tmp_path / f"{number}.png") as drawing:
            sizes.append(drawing.size)
        assert made_by(tmp_path / f"{number}.png") == EXPLAIN
    assert len(set(sizes[:3])) == 1
    assert sizes[3][1] > sizes[0][1]  # a long name is wrapped
