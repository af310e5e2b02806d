"""Training on tables that other programs wrote, as a user does it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import COLOURS, Outcome, save_image
from transfer_cli import FinishedRun, ImageFolder
from transfer_cli.catalog.classifiers import CLASSIFIERS
from transfer_cli.classifiers.fit import FitOptions, fit, probabilities


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 24 images of two colours, without class folders."""
    random = np.random.default_rng(3)
    for number in range(24):
        save_image(tmp_path / "card" / f"{number:02}.png", COLOURS["red" if number % 2 else "blue"], random, 24)
    return tmp_path / "card"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_split_by_a_column_keeps_its_groups_together(
    images: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    rows = "".join(f"{n:02}.png;{'fox' if n % 2 else 'hare'};site{n // 4}\r\n" for n in range(24))
    (tmp_path / "cards.csv").write_bytes(f"RelPath;Animal;Site\r\n{rows};;\r\n".encode("utf-16"))
    words = ["--path-column", "relpath", "--label-column", "animal", "--images", images]
    result = transfer_cli("data", "split", "cards.csv", *words, "--group-by", "column:site", "-o", "split.csv")
    assert result.code == 0, result.err
    written = rows_of(tmp_path / "split.csv")
    assert {row["label"] for row in written} == {"fox", "hare"}
    parts_of = {n // 4: set() for n in range(24)}
    for row in written:
        parts_of[int(Path(row["path"]).stem) // 4].add(row["split"])
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert len(set.union(*parts_of.values())) == 2
    assert [file.part for file in ImageFolder.scan(tmp_path / "split.csv").files] == [row["split"] for row in written]


@pytest.mark.integration
def test_extract_presence_of_one_label_with_images_elsewhere(
    images: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]
) -> None:
    (tmp_path / "tables").mkdir()
    rows = "".join(f"{n:02}.png,{'fox' if n % 2 else ''},{n // 2}\n" for n in range(24))
    (tmp_path / "tables" / "foxes.csv").write_text(f"file,labels,group\n{rows}")
    words = ["--images", images, "--group-by", "column:group", "--split", "parts.csv", "-o", "run"]
    parts = "".join(f"card/{n:02}.png,{'Testing' if n < 8 else 'train'}\n" for n in range(24))
    (tmp_path / "parts.csv").write_text(f"image,subset\n{parts}")
    result = transfer_cli("extract", "tables/foxes.csv", "--backbone", "embedded", *words)
    assert result.code == 0, result.err
    assert "24 images, 1 label (any number per image): fox 12" in result.err
    run = FinishedRun.read(tmp_path / "run")
    assert (run.source, run.root) == (tmp_path / "tables" / "foxes.csv", images)
    assert {(row.part, row.group) for row in run.split.rows if row.part == "test"} == {
        ("test", str(number)) for number in range(4)
    }
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["images"]["value"] == 8
    table = rows_of(tmp_path / "run" / "predictions_test.csv")
    assert {row["path"] for row in table} == {f"{n:02}.png" for n in range(8)}
    assert all(0 <= float(row["p_fox"]) <= 1 for row in table)


@pytest.mark.parametrize("name", ["logistic", "linear-svm", "knn", "nearest-centroid", "lda"])
def test_fit_one_label_gives_the_probability_of_its_presence(name: str) -> None:
    random, truth = np.random.default_rng(0), np.arange(24)[:, None] % 2
    features = (random.normal(size=(24, 8)) + 3 * truth).astype(np.float32)
    fitted = fit(CLASSIFIERS[name], features, truth, FitOptions(1, tune=False))
    predicted = probabilities(fitted.pipeline, features, 1)
    assert predicted.shape == (24, 1)
    assert ((predicted > 0.5) == truth).all()
    assert fitted.out_of_fold is not None
    assert ((fitted.out_of_fold > 0.5) == truth).mean() > 0.9
