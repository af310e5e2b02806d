"""The split of a run that continues."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.conftest import TINY, TINY_SIZE
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest
from transfer_cli.io.digests import digest_of_file
from transfer_cli.training.setup.image_store import Decoded
from transfer_cli.training.setup.split import make_split


def split_of(folder: Path, run: RunDirectory) -> Split:
    images = ImageFolder.scan(folder)
    digests = tuple(digest_of_file(folder / file.path).sha256 for file in images.files)
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE})
    read = Decoded(np.empty((0, 1, 1, 3), np.uint8), tuple(range(len(digests))), digests, ())
    return make_split(TrainingRequest(images, run), recipe, read)[0]


def test_make_split_of_an_interrupted_run_tells_how_it_was_made_at_first(colours: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    first = split_of(colours, run)
    first.write(run.split)
    assert split_of(colours, run) == first
    assert first.made_by == "digest"
