"""Fixtures of the tests of exports: a run exported to every float32 format, and a run with real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import TINY, run_command
from tests.exported_files import F32
from transfer_cli.catalog import export_formats
from transfer_cli.data.image_batches import batches
from transfer_cli.export.export import export


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run on the colours in every float32 format."""
    target = tmp_path_factory.mktemp("exported") / "export"
    results = export(str(trained), [export_formats.find(name) for name in F32], target)
    assert [result.failure for result in results] == [None] * len(F32)
    return target


@pytest.fixture(scope="session")
def pretrained(colours: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on the colours with real weights, because random weights amplify the errors of int8."""
    run = tmp_path_factory.mktemp("pretrained") / "run"
    options = ["--backbone", TINY, "--set", "images.size=96", "-o", run]
    # There are no weights for 96 pixels; those for 224 pixels fit.
    weights = shared / "keras_home" / "models" / "mobilenet_2_5_224_tf_no_top.h5"
    done = run_command("extract", colours, *options, "--weights", weights)
    assert done.code == 0, done.err
    return run


@pytest.fixture(scope="session")
def images(colours: Path) -> NDArray[np.uint8]:
    """Return all images of the colours, decoded for the model."""
    paths = sorted(map(str, colours.rglob("*.png")))
    return np.concatenate([batch.images for batch in batches(paths, size=32, resize="squash", batch_size=32)])
