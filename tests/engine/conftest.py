"""What the tests of the engine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TINY, TINY_SIZE
from tests.engine.alive import wake
from tests.engine.photographs import Planted, plant
from transfer_cli.catalog import backbones
from transfer_cli.engine.backbone import build
from transfer_cli.engine.images import batches


@pytest.fixture(scope="session")
def weights(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of weights of the tiny network, its BatchNorm statistics those of pictures."""
    network = build(backbones.find(TINY), weights="none", size=TINY_SIZE, seed=4)
    paths = sorted(map(str, colours.rglob("*.png")))
    wake(network, next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="session")
def planted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return a run on photographs with copies of train pictures among its test pictures."""
    return plant(shared, tmp_path_factory.mktemp("planted"))
