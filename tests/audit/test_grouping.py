"""Trainings that keep relatives in one part."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import FINETUNE_WORDS, TINY, TINY_SIZE, TINY_WORDS, Outcome, run_command
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, extract
from transfer_cli.catalog import backbones
from transfer_cli.data.decoding import batches
from transfer_cli.data.split import Split
from transfer_cli.errors import RecipeError
from transfer_cli.models.backbone import build
from transfer_cli.progress import SILENT
from transfer_cli.training.loop.images import Pictures
from transfer_cli.training.loop.linear_probe import start_from_probe
from transfer_cli.training.loop.micro_batches import portions_of

COPIES = "near-duplicates"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two classes of eight pictures, each with two copies."""
    root = tmp_path_factory.mktemp("data") / "copies"
    for label in range(2):
        (root / "ab"[label]).mkdir(parents=True)
        for number in range(8):
            rough = np.random.default_rng(10 * label + number).integers(0, 200, (10, 10, 3), np.uint8)
            image = Image.fromarray(rough + np.uint8(50 * label)).resize((90, 90), Image.Resampling.BICUBIC)
            image.save(root / "ab"[label] / f"p{number} whole.png")
            image.save(root / "ab"[label] / f"p{number} encoded.jpg", quality=85)
            image.resize((60, 60)).save(root / "ab"[label] / f"p{number} little.png")
    return root


def parted(run: Path) -> list[str]:
    """Return what is in more than one part, by class and number."""
    parts = defaultdict(set)
    for row in Split.read(run / "split.csv").rows:
        parts[row.path.split(" ")[0]].add(row.part)
    assert {part for found in parts.values() for part in found} >= {"train", "test"}
    return [name for name, found in parts.items() if len(found) > 1]


def extracted(folder: Path, run: Path, *words: str) -> Outcome:
    done = run_command("extract", folder, *TINY_WORDS, "--classifier", "none", "-o", run, *words)
    assert done.code == 0, done.err
    return done


def test_extract_keeps_copies_together(copies: Path, tmp_path: Path) -> None:
    done = extracted(copies, tmp_path / "run", "--group-by", COPIES)
    assert "near-duplicates: 48 pictures are copies of one another, in 16 groups" in done.err
    assert parted(tmp_path / "run") == []
    extracted(copies, tmp_path / "without")
    assert parted(tmp_path / "without")


def test_finetune_keeps_relatives_together(copies: Path, two_stages: Path, tmp_path: Path) -> None:
    words = ["--recipe", two_stages, *FINETUNE_WORDS, "--set", "inference.runtime=keras"]
    done = run_command("finetune", copies, *words, "-o", tmp_path / "run", "--group-by", COPIES)
    assert done.code == 0, done.err
    assert "in 16 groups" in done.err
    assert parted(tmp_path / "run") == []


def test_by_the_name_and_with_pictures_that_have_none(copies: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(copies, tmp_path / "folder"))
    Image.new("RGB", (20, 20), (9, 9, 9)).save(folder / "a" / "alone.png")
    done = extracted(folder, tmp_path / "run", "--group-by", r"./p\d+")
    assert r"grouped by ./p\d+: 48 pictures in 16 groups; 1 pictures do not match and are alone" in done.err
    assert parted(tmp_path / "run") == []


def test_a_bad_pattern_is_told_before_anything_is_read(copies: Path, tmp_path: Path) -> None:
    done = run_command("extract", copies, *TINY_WORDS, "-o", tmp_path / "run", "--group-by", "p(")
    assert done.code == 3
    assert "split.group_by" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "words"), [(r"q(\d)", "matches none of the 48"), ("p", "all 48 pictures into one")])
def test_a_pattern_that_names_no_group_is_told_before_anything_is_read(
    text: str, words: str, copies: Path, tmp_path: Path
) -> None:
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none", "split.group_by": text})
    with pytest.raises(RecipeError, match=words):
        extract(ImageFolder.scan(copies), recipe, RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures of 24 patients, eight each, that show whose they are and nothing of the patient's class."""
    root = tmp_path_factory.mktemp("data") / "patients"
    random = np.random.default_rng(5)
    for patient in range(24):
        colour = random.integers(0, 220, 3)
        for number in range(8):
            noise = random.integers(0, 12, (40, 40, 3))
            path = root / "ab"[patient % 2] / f"p{patient:02} {number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((colour + noise).astype(np.uint8)).save(path)
    return root


def test_figures_out_of_fold_do_not_rest_on_relatives(patients: Path, tmp_path: Path) -> None:
    words = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE, "classifier.name": "knn"}
    words |= {"classifier.tune": False, "split.test": 0.0}

    def accuracy(name: str, **more: str) -> float:
        folder, recipe = ImageFolder.scan(patients), ExtractRecipe.load(None, [], words | more)
        return float(extract(folder, recipe, RunDirectory(tmp_path / name)).metrics["val"]["accuracy"]["value"])

    assert accuracy("grouped", **{"split.group_by": r"p\d+"}) < 0.7
    assert accuracy("alone") > 0.8


def test_the_probe_of_a_fine_tuning_is_tuned_without_relatives(patients: Path, weights: Path) -> None:
    from transfer_cli.models.classifier_network import Network

    paths = sorted(str(path) for path in patients.rglob("*.png"))
    images = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images
    truth = np.array([Path(path).parent.name == "b" for path in paths], np.int64)
    who = np.array([int(Path(path).name[1:3]) for path in paths], np.int64)
    words = {"backbone.name": TINY, "backbone.weights": str(weights), "images.size": TINY_SIZE}
    recipe = FinetuneRecipe.load(None, [], words)
    features = build(backbones.find(TINY), weights=str(weights), size=TINY_SIZE)
    network = Network(features, recipe.head, 2, 0)
    train = np.arange(len(paths))

    def value(groups: np.ndarray | None) -> float:
        data = Pictures(images, train, truth, train, train[:0], groups)
        return start_from_probe(network, recipe, data, portions_of(recipe), SILENT)

    assert value(who) < value(None)
