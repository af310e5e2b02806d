from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.bundle import model_card
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.model_card import FILE
from transfer_cli.calibration.fit import ValFit
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.io.digests import digest_of_file
from transfer_cli.metrics.metrics_table import score


def tables(card: str) -> list[list[list[str]]]:
    """Return the cells of each table of a Markdown text, the rulers left out."""
    found: list[list[list[str]]] = [[]]
    for line in card.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found[-1] += [] if set(cells) == {"---"} else [cells]
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize("name", ["trained", "finetuned"])
def test_the_card_of_a_run_says_what_its_files_say(name: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    card = (run / "model" / FILE).read_text()
    figures, recalls, counts, files = tables(card)
    metrics, split = json.loads((run / "metrics.json").read_text()), Split.read(run / "split.csv")
    assert figures[0] == ["figure", "val", "test"]
    accuracy = next(row for row in figures if row[0] == "accuracy")
    for part, cell in zip(("val", "test"), accuracy[1:], strict=True):
        figure = metrics[part]["accuracy"]
        assert cell == f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
    assert sorted(row[0] for row in recalls[1:]) == ["blue", "green", "red"]
    assert counts[0] == ["class", *split.counts()]
    for row in counts[1:]:
        of_class = [sum(each.part == part for each in split.rows if each.truth == row[0]) for part in split.counts()]
        assert row[1:] == [str(count) for count in of_class]
    bundle, directory = ModelBundle.read(run)
    assert {row[0] for row in files[1:]} == bundle.files.keys() - {FILE}
    for file, size, digest in files[1:]:
        assert (size, digest) == (str(bundle.files[file].bytes), f"`{digest_of_file(directory / file).sha256}`")
    assert "\n\n\n" not in card
    assert "{" not in card


def test_names_cannot_break_the_page(trained: Path, tmp_path: Path) -> None:
    bundle, _ = ModelBundle.read(trained)
    names = ("# a|b", "<script>alert(1)</script>", "c_d*e*\n| x |")
    rows = tuple(SplitRow(f"{n}.png", f"{n:064}", (names[n % 3],), "test" if n > 5 else "train") for n in range(9))
    split = Split(rows, 0, "digest")
    truth = np.array([split.class_names.index(row.labels[0]) for row in rows if row.part == "test"])
    metrics = {"test": score(truth, np.eye(3, dtype=np.float32)[truth])}
    model_card.write(
        tmp_path,
        bundle.model_copy(update={"class_names": split.class_names}),
        split,
        metrics,
        ValFit(),
        name="[x](http://evil)",
        skipped=3,
        val_note="",
    )
    card = (tmp_path / FILE).read_text()
    counts = next(table for table in tables(card) if table[0][0] == "class" and "train" in table[0])
    assert [len(row) for row in counts] == [3] * 4
    assert "<script>" not in card
    assert "[x](" not in card
    assert "tested on 3 pictures only" in card
    assert "3 files could not be read" in card
    assert "drawn picture by picture" in card


def test_without_a_test_part_the_card_says_so(trained: Path, tmp_path: Path) -> None:
    bundle, _ = ModelBundle.read(trained)
    split = Split(
        tuple(SplitRow(f"{n}.png", f"{n:064}", ("a" if n % 2 else "b",), "train") for n in range(4)), 0, "digest"
    )
    model_card.write(tmp_path, bundle, split, {}, ValFit(), name="x", skipped=0, val_note="")
    card = (tmp_path / FILE).read_text()
    assert "Not measured: there is neither a val nor a test part." in card
    assert "There was no test part" in card


@pytest.mark.parametrize(
    ("group_by", "words"),
    [(r"patient(\d+)", "finds the same were kept in one part"), ("near-duplicates", "Copies of one picture were kept")],
)
def test_a_grouped_run_is_not_said_to_be_drawn_picture_by_picture(
    group_by: str, words: str, trained: Path, tmp_path: Path
) -> None:
    bundle, _ = ModelBundle.read(trained)
    recipe = {**bundle.recipe, "split": {**bundle.recipe["split"], "group_by": group_by}}
    split = Split.read(trained / "split.csv")

    def card(bundle: ModelBundle, made_by: str) -> str:
        drawn = Split(split.rows, 0, made_by)
        model_card.write(tmp_path, bundle, drawn, {}, ValFit(), name="x", skipped=0, val_note="")
        return (tmp_path / FILE).read_text()

    grouped = card(bundle.model_copy(update={"recipe": recipe}), "digest")
    assert words in grouped
    assert "made by group" in grouped
    assert "drawn picture by picture" not in grouped
    assert "drawn picture by picture" in card(bundle, "digest")
    # The layout of a folder may part groups.
    assert words not in card(bundle.model_copy(update={"recipe": recipe}), "folders")
