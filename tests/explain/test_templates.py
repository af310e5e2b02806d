"""Class means are the means of the decoded images, whatever could not be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data.views import View
from transfer_cli.errors import InputError
from transfer_cli.explain.templates import class_means


def test_means_are_exact_and_count_each_label(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 20), ("c", 40)):
        Image.new("RGB", (8, 8), (level, 0, 255)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    files = [("a.png", ("x",)), ("b.png", ("x",)), ("c.png", ("x", "y")), ("broken.png", ("z",))]
    means = class_means(files, View(8, "squash"), root=tmp_path)
    assert (means.class_names, means.counts) == (("x", "y"), (3, 1))
    assert (means.images == np.array([[23, 0, 255], [40, 0, 255]])[:, None, None]).all()
    assert [item.path for item in means.skipped] == ["broken.png"]
    with pytest.raises(InputError, match="No image could be read"):
        class_means(files[3:], View(8, "squash"), root=tmp_path)
