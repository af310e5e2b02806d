"""Trainings that keep the images of a group in one split."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import FINETUNE_WORDS, TINY, TINY_SIZE, TINY_WORDS, Outcome, run_command
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.catalog import backbones
from transfer_cli.data.image_batches import batches
from transfer_cli.data.split import Split
from transfer_cli.errors import RecipeError
from transfer_cli.io.array_store import ArrayStore
from transfer_cli.models.backbone import build
from transfer_cli.progress import SILENT
from transfer_cli.training.extract import extract
from transfer_cli.training.loop.context import StageContext, TrainingData
from transfer_cli.training.loop.linear_probe import start_from_probe
from transfer_cli.training.loop.micro_batches import MicroBatches

pytestmark = pytest.mark.integration

NEAR_DUPLICATES = "near-duplicates"


@pytest.fixture(scope="module")
def duplicates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two classes of eight images, each with two near-duplicates."""
    root = tmp_path_factory.mktemp("data") / "duplicates"
    for label in range(2):
        (root / "ab"[label]).mkdir(parents=True)
        for number in range(8):
            rough = np.random.default_rng(10 * label + number).integers(0, 200, (10, 10, 3), np.uint8)
            image = Image.fromarray(rough + np.uint8(50 * label)).resize((90, 90), Image.Resampling.BICUBIC)
            image.save(root / "ab"[label] / f"p{number} whole.png")
            image.save(root / "ab"[label] / f"p{number} encoded.jpg", quality=85)
            image.resize((60, 60)).save(root / "ab"[label] / f"p{number} little.png")
    return root


def divided_groups(run: Path) -> list[str]:
    """Return the groups that are in more than one split, by class and number."""
    parts = defaultdict(set)
    for row in Split.read(run / "split.csv").rows:
        parts[row.path.split(" ")[0]].add(row.part)
    assert {part for found in parts.values() for part in found} >= {"train", "test"}
    return [name for name, found in parts.items() if len(found) > 1]


def extracted(folder: Path, run: Path, *words: str) -> Outcome:
    done = run_command("extract", folder, *TINY_WORDS, "--classifier", "none", "-o", run, *words)
    assert done.code == 0, done.err
    return done


def test_extract_keeps_near_duplicates_in_one_split(duplicates: Path, tmp_path: Path) -> None:
    done = extracted(duplicates, tmp_path / "run", "--group-by", NEAR_DUPLICATES)
    assert "near-duplicates: 48 images in 16 groups" in done.err
    assert divided_groups(tmp_path / "run") == []
    extracted(duplicates, tmp_path / "without")
    assert divided_groups(tmp_path / "without")


def test_finetune_keeps_near_duplicates_in_one_split(duplicates: Path, two_stages: Path, tmp_path: Path) -> None:
    words = ["--recipe", two_stages, *FINETUNE_WORDS, "--set", "inference.runtime=keras"]
    done = run_command("finetune", duplicates, *words, "-o", tmp_path / "run", "--group-by", NEAR_DUPLICATES)
    assert done.code == 0, done.err
    assert "in 16 groups" in done.err
    assert divided_groups(tmp_path / "run") == []


def test_extract_groups_by_pattern_and_reports_images_without_match(duplicates: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(duplicates, tmp_path / "folder"))
    Image.new("RGB", (20, 20), (9, 9, 9)).save(folder / "a" / "alone.png")
    done = extracted(folder, tmp_path / "run", "--group-by", r"./p\d+")
    assert r"grouped by ./p\d+: 48 images in 16 groups; 1 image does not match: in no group" in done.err
    assert divided_groups(tmp_path / "run") == []


def test_extract_invalid_pattern_fails_before_work(duplicates: Path, tmp_path: Path) -> None:
    done = run_command("extract", duplicates, *TINY_WORDS, "-o", tmp_path / "run", "--group-by", "p(")
    assert done.code == 3
    assert "split.group_by" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "words"), [(r"q(\d)", "matches none of the 48"), ("p", "all 48 images into one")])
def test_extract_pattern_without_groups_fails_before_work(
    text: str, words: str, duplicates: Path, tmp_path: Path
) -> None:
    recipe = ExtractRecipe.load(None, [], {"backbone.name": TINY, "backbone.weights": "none", "split.group_by": text})
    with pytest.raises(RecipeError, match=words):
        extract(TrainingRequest(ImageFolder.scan(duplicates), RunDirectory(tmp_path / "run")), recipe)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return eight images of each of 24 patients, which show the patient and nothing of the class."""
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


def test_cross_validated_accuracy_keeps_groups_in_one_fold(patients: Path, tmp_path: Path) -> None:
    words = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE, "classifier.name": "knn"}
    words |= {"classifier.tune": False, "split.test": 0.0}

    def accuracy(name: str, **more: str) -> float:
        folder, recipe = ImageFolder.scan(patients), ExtractRecipe.load(None, [], words | more)
        return float(
            extract(TrainingRequest(folder, RunDirectory(tmp_path / name)), recipe).metrics["val"]["accuracy"]["value"]
        )

    assert accuracy("grouped", **{"split.group_by": r"p\d+"}) < 0.7
    assert accuracy("alone") > 0.8


def test_finetune_probe_is_tuned_with_groups_in_one_fold(patients: Path, weights: Path) -> None:
    from transfer_cli.models.classifier_network import ClassifierNetwork

    paths = sorted(str(path) for path in patients.rglob("*.png"))
    images = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths))).images
    truth = np.array([Path(path).parent.name == "b" for path in paths], np.int64)
    who = np.array([int(Path(path).name[1:3]) for path in paths], np.int64)
    words = {"backbone.name": TINY, "backbone.weights": str(weights), "images.size": TINY_SIZE}
    recipe = FinetuneRecipe.load(None, [], words)
    features = build(backbones.find(TINY), weights=str(weights), size=TINY_SIZE)
    network = ClassifierNetwork(features, recipe.head, 2, 0)
    train = np.arange(len(paths))

    def value(groups: np.ndarray | None) -> float:
        data = TrainingData(images, train, truth, train, train[:0], groups)
        context = StageContext(network, recipe, ArrayStore(Path()), MicroBatches.of(recipe), SILENT)
        return start_from_probe(context, data)

    assert value(who) < value(None)
