"""What the tests of the engine share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, TINY_SIZE
from tests.engine.alive import wake
from tests.engine.finetuning import WORDS
from tests.engine.photographs import Planted, plant
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, extract
from transfer_cli.catalog import backbones
from transfer_cli.engine.backbone import build
from transfer_cli.engine.ensemble import ensemble
from transfer_cli.engine.images import batches
from transfer_cli.ensemble_recipe import EnsembleRecipe, Joining


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


MEMBERS = {
    "plain": (),
    "linear": ("classifier.tune=false",),
    "large": ("images.size=48", "images.resize=crop"),
    "neighbours": ("classifier.name=knn",),
}


@pytest.fixture(scope="session")
def members(colours: Path, weights: Path, finetuned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return runs on one split of the colours, by name: all of extract but ``finetuned``."""
    root = tmp_path_factory.mktemp("members")
    words = {**WORDS, "backbone.weights": str(weights), "split.val": 0.2}
    for name, overrides in MEMBERS.items():
        extract(ImageFolder.scan(colours), ExtractRecipe.load(None, overrides, words), RunDirectory(root / name))
    return {**{name: root / name for name in MEMBERS}, "finetuned": finetuned}


@pytest.fixture(scope="session")
def join(members: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes an ensemble of some members, by their names and the method; each is made once."""
    made: dict[tuple[str, ...], Path] = {}

    def joined(method: str, *names: str) -> Path:
        if (method, *names) not in made:
            run = tmp_path_factory.mktemp("joined") / method
            recipe = EnsembleRecipe(ensemble=Joining(method=method))
            ensemble([members[name] for name in names], recipe, RunDirectory(run))
            made[method, *names] = run
        return made[method, *names]

    return joined
