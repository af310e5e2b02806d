from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import MODEL_CARD_FILE
from transfer_cli.bundle.model_card import ModelCard
from transfer_cli.calibration.fit import ValFit
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.io.digests import digest_of_file
from transfer_cli.metrics.metrics_table import score


def tables(card: str) -> list[list[list[str]]]:
    """Return the cells of each table in a Markdown text, without the separator lines."""
    found: list[list[list[str]]] = [[]]
    for line in card.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found[-1] += [] if set(cells) == {"---"} else [cells]
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize("name", ["trained", "finetuned"])
def test_model_card_agrees_with_the_files_of_the_run(name: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    card = (run / "model" / MODEL_CARD_FILE).read_text()
    values, recalls, counts, files = tables(card)
    metrics, split = json.loads((run / "metrics.json").read_text()), Split.read(run / "split.csv")
    assert values[0] == ["metric", "val", "test"]
    accuracy = next(row for row in values if row[0] == "accuracy")
    for part, cell in zip(("val", "test"), accuracy[1:], strict=True):
        metric = metrics[part]["accuracy"]
        assert cell == f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"
    assert sorted(row[0] for row in recalls[1:]) == ["blue", "green", "red"]
    assert counts[0] == ["class", *split.counts()]
    for row in counts[1:]:
        of_class = [sum(each.part == part for each in split.rows if each.truth == row[0]) for part in split.counts()]
        assert row[1:] == [str(count) for count in of_class]
    bundle, directory = ModelBundle.read(run)
    files = [[name.replace("\\_", "_"), *rest] for name, *rest in files]
    assert {row[0] for row in files[1:]} == bundle.files.keys() - {MODEL_CARD_FILE}
    for file, size, digest in files[1:]:
        assert (size, digest) == (str(bundle.files[file].bytes), f"`{digest_of_file(directory / file).sha256}`")
    assert "\n\n\n" not in card
    assert "{" not in card


def test_model_card_escapes_names(trained: Path, tmp_path: Path) -> None:
    bundle, _ = ModelBundle.read(trained)
    names = ("# a|b", "<script>alert(1)</script>", "c_d*e*\n| x |")
    rows = tuple(SplitRow(f"{n}.png", f"{n:064}", (names[n % 3],), "test" if n > 5 else "train") for n in range(9))
    split = Split(rows, 0, "digest")
    truth = np.array([split.class_names.index(row.labels[0]) for row in rows if row.part == "test"])
    metrics = {"test": score(truth, np.eye(3, dtype=np.float32)[truth])}
    bundle = bundle.model_copy(update={"class_names": split.class_names})
    ModelCard(bundle, split, metrics, ValFit(), "[x](http://evil)", skipped=3).write(tmp_path)
    card = (tmp_path / MODEL_CARD_FILE).read_text()
    counts = next(table for table in tables(card) if table[0][0] == "class" and "train" in table[0])
    assert [len(row) for row in counts] == [3] * 4
    assert "<script>" not in card
    assert "[x](" not in card
    assert "The test set has only 3 images" in card
    assert "3 files could not be read" in card
    assert "drawn image by image" in card


def test_model_card_without_test_set_says_so(trained: Path, tmp_path: Path) -> None:
    bundle, _ = ModelBundle.read(trained)
    split = Split(
        tuple(SplitRow(f"{n}.png", f"{n:064}", ("a" if n % 2 else "b",), "train") for n in range(4)), 0, "digest"
    )
    ModelCard(bundle, split, {}, ValFit(), "x").write(tmp_path)
    card = (tmp_path / MODEL_CARD_FILE).read_text()
    assert "Not measured: there is neither a validation set nor a test set." in card
    assert "There was no test set" in card


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (r"patient(\d+)", "no group is in both the training set"),
        ("near-duplicates", "Near-duplicates were kept in the same part"),
    ],
)
def test_model_card_of_grouped_split_describes_the_groups(
    group_by: str, expected: str, trained: Path, tmp_path: Path
) -> None:
    bundle, _ = ModelBundle.read(trained)
    recipe = {**bundle.recipe, "split": {**bundle.recipe["split"], "group_by": group_by}}
    split = Split.read(trained / "split.csv")

    def card(bundle: ModelBundle, made_by: str) -> str:
        drawn = Split(split.rows, 0, made_by)
        ModelCard(bundle, drawn, {}, ValFit(), "x").write(tmp_path)
        return (tmp_path / MODEL_CARD_FILE).read_text()

    grouped = card(bundle.model_copy(update={"recipe": recipe}), "digest")
    assert expected in grouped
    assert "made by group" in grouped
    assert "drawn image by image" not in grouped
    assert "drawn image by image" in card(bundle, "digest")
    # A split from the folder layout ignores groups.
    assert expected not in card(bundle.model_copy(update={"recipe": recipe}), "folders")
