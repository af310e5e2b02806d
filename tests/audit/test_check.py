from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import TINY, TINY_SIZE
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.audit import check as checking
from transfer_cli.audit.image_stats import measure_images
from transfer_cli.training.setup.resolve import resolve_recipe


def test_features_image_deleted_between_passes_is_skipped(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    images = ImageFolder.scan(folder)
    stats = measure_images([file.path for file in images.files], folder)
    (folder / "green" / "green 03.png").unlink()
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE})
    request = TrainingRequest(images, RunDirectory(tmp_path / "check"))
    selected, matrix = checking._features(request, resolve_recipe(request, recipe, keeps_model=True), stats)
    assert len(matrix) == len(selected.paths) == len(selected.grey) == 35
    assert "green/green 03.png" not in selected.paths
