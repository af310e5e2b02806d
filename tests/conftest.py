"""Fixtures that all tests share: small image folders, a tiny network, finished runs, the test data."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.planted_leaks import Planted

REPOSITORY = Path(__file__).parent.parent
TEST_DATA = "TRANSFER_CLI_TEST_DATA"
INTEGRATION = {"shared", "browser"}
"""Fixtures that make a test an integration test."""
_MUCH_MEMORY = 3 * 10**9
TINY = "mobilenet@0.25"
TINY_SIZE = 32
TINY_WORDS = ["--backbone", TINY, "--weights", "none", "--set", f"images.size={TINY_SIZE}"]

FINETUNE_WORDS = [*TINY_WORDS, "--set", "split.val=0.2"]
TWO_STAGES = """
method = "finetune"

[head]
kind = "linear"
dropout = 0.2

[refit]
when = "never"

[[stage]]
unfreeze = "head"
epochs = 2
learning_rate = 1e-2
optimizer = "sgd"

[[stage]]
unfreeze = "from:conv_dw_13"
epochs = 2
learning_rate = 1e-3
optimizer = "adam"
schedule = "cosine"

[augmentation]
rotation_range = 20
zoom_range = 0.1
"""

COLOURS = {"blue": (30, 40, 200), "green": (30, 190, 40), "red": (210, 30, 30)}


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep a person's own cache out of the tests; they share one, so that the tiny networks are converted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_CLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("TRANSFER_CLI_CACHE_LIMIT", raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep a person's own weights, terminal and runs out of the tests."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # main sets it; Pythons that later tests start would not find `tests`
    monkeypatch.delenv("TRANSFER_CLI_OFFLINE", raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs real weights, real images or a browser as an integration test, unless it is slow."""
    for item in items:
        if INTEGRATION & {*getattr(item, "fixturenames", ())} and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real weights and images that TRANSFER_CLI_TEST_DATA names."""
    folder = Path(os.environ.get(TEST_DATA, ""))
    if TEST_DATA not in os.environ and os.environ.get("CI") != "true":
        pytest.skip(f"{TEST_DATA} is not set")
    if not (folder / "keras_home").is_dir():
        pytest.fail(f"Set {TEST_DATA} to the folder with keras_home and data. Received: {os.environ.get(TEST_DATA)!r}")
    return folder.absolute()


def save_image(path: Path, colour: Sequence[int], random: np.random.Generator, side: int = 40) -> None:
    """Write a noisy picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.normal(0, 8, (side, side, 3))
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three classes of twelve pictures, told apart by their colour."""
    root = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.default_rng(7)
    for name, colour in COLOURS.items():
        for number in range(12):
            save_image(root / name / f"{name} {number:02}.png", colour, random)
    return root


class Outcome:
    """What a command did: exit code, stdout and stderr as text."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")

    @property
    def json(self) -> object:
        return json.loads(self.out)


def run_command(*words: str | Path, **options: object) -> Outcome:
    """Run transfer-cli in a process of its own, as a person does."""
    environment = {**os.environ, **options.pop("env", {})}  # type: ignore[dict-item]
    command = [sys.executable, "-m", "transfer_cli", *map(str, words)]
    return Outcome(subprocess.run(command, capture_output=True, env=environment, timeout=300, **options))  # type: ignore[call-overload]


@pytest.fixture
def transfer_cli(tmp_path: Path) -> Callable[..., Outcome]:
    """Return a function that runs a command in an empty folder."""

    def call(*words: str | Path, **options: object) -> Outcome:
        options.setdefault("cwd", tmp_path)
        return run_command(*words, **options)

    return call


@pytest.fixture(scope="session")
def trained(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run on the colours, made by the command."""
    run = tmp_path_factory.mktemp("trained") / "runs" / "colours"
    home = tmp_path_factory.mktemp("keras")
    done = run_command("extract", colours, *TINY_WORDS, "-o", run, env={"KERAS_HOME": str(home)})
    assert done.code == 0, done.err
    return run


@pytest.fixture(scope="session")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe with two stages, dropout and augmentation."""
    path = tmp_path_factory.mktemp("recipes") / "two-stages.toml"
    path.write_text(TWO_STAGES)
    return path


@pytest.fixture(scope="session")
def finetuned(colours: Path, two_stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished fine-tuning on the colours, made by the command."""
    run = tmp_path_factory.mktemp("finetuned") / "runs" / "colours"
    done = run_command("finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, "-o", run)
    assert done.code == 0, done.err
    return run


@pytest.fixture
def copy_of_trained(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


@pytest.fixture(scope="session")
def joinable(colours: Path, finetuned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return finished runs on one split: a fine-tuning, and two of extract that see pictures in other ways."""
    from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, Split, TrainingRequest
    from transfer_cli.training.extract import extract

    root = tmp_path_factory.mktemp("members")
    runs = {"finetuned": finetuned}
    for name, words in {
        "small": {"images.size": TINY_SIZE},
        "large": {"images.size": 48, "images.resize": "pad", "classifier.name": "nearest-centroid"},
    }.items():
        recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none"} | words)
        split = Split.read(finetuned / "split.csv")
        extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(root / name), split=split), recipe)
        runs[name] = root / name
    return runs


@pytest.fixture(scope="session")
def weights(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of weights of the tiny network, its BatchNorm statistics those of pictures."""
    from tests.live_networks import wake
    from transfer_cli.catalog import backbones
    from transfer_cli.data.image_batches import batches
    from transfer_cli.models.backbone import build

    network = build(backbones.find(TINY), weights="none", size=TINY_SIZE, seed=4)
    paths = sorted(map(str, colours.rglob("*.png")))
    wake(network, next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="session")
def planted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return a run on photographs with copies of train pictures among its test pictures."""
    from tests.planted_leaks import plant

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
    from tests.finetuning import WORDS
    from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest
    from transfer_cli.training.extract import extract

    root = tmp_path_factory.mktemp("members")
    words = {**WORDS, "backbone.weights": str(weights), "split.val": 0.2}
    for name, overrides in MEMBERS.items():
        extract(
            TrainingRequest(ImageFolder.scan(colours), RunDirectory(root / name)),
            ExtractRecipe.load(None, overrides, words),
        )
    return {**{name: root / name for name in MEMBERS}, "finetuned": finetuned}


@pytest.fixture(scope="session")
def join(members: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return what makes an ensemble of some members, by their names and the method; each is made once."""
    from transfer_cli import EnsembleRequest, RunDirectory
    from transfer_cli.ensembling.ensemble import ensemble
    from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe

    made: dict[tuple[str, ...], Path] = {}

    def joined(method: str, *names: str) -> Path:
        if (method, *names) not in made:
            run = tmp_path_factory.mktemp("joined") / method
            recipe = EnsembleRecipe(ensemble=EnsembleOptions(method=method))
            ensemble(EnsembleRequest([members[name] for name in names], RunDirectory(run)), recipe)
            made[method, *names] = run
        return made[method, *names]

    return joined


def _resident_bytes() -> int:
    """Return the memory of this process in RAM; everything where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else sys.maxsize


@pytest.fixture(autouse=True)
def memory_of_sweeps_is_returned(request: pytest.FixtureRequest) -> Iterator[None]:
    """Return the memory of a large network to the system before a sweep builds the next one."""
    yield
    # It takes half a second.
    if request.node.get_closest_marker("slow") and _resident_bytes() > _MUCH_MEMORY:
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
