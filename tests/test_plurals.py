"""Messages say "1 image" and "2 images": a number that is counted is written by `text.counted`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.conftest import REPOSITORY
from transfer_cli.text import counted, duration_text, plural

NOUNS = "images|classes|files|epochs|folds|steps|rows|models|groups|runs|members|bags|labels|layers|maps|pairs"
FOLLOWED = re.compile(rf" (?:[a-z-]+ ){{0,2}}(?:{NOUNS})\b")
A_NUMBER = re.compile(r"\blen\(|\bcount|\bsum\(|\bint\(|\.images\b|epochs|steps|number\b")
MORE_THAN_ONE = (
    "audit/leakage.py: {len(changed)} readable images",
    "bundle/model_card.py: {len(bundle.members)} models",
    "cli/_summaries.py: {len(result.rows)} saliency maps",
    "cli/bundle.py: {len(own['members'])} models",
    "cli/inspect.py: {count} layers",
    "cli/preview.py: {len(images.class_names)} classes",
    "cli/similar.py: {len(matches.drawn)} images",
    "data/groups.py: {len(paths)} images",
    "ensembling/member_comparison.py: {len(alone)} members",
    "ensembling/soup.py: {len(alone)} members",
    "ensembling/soup.py: {len(every)} members",
    "evaluation/comparison.py: {len(independent)} images",
    "explain/explainable.py: {len(members)} models",
    "explain/explainable.py: {len(opened.members)} models",
    "explain/source_network.py: {len(opened.members)} models",
    "export/litert/metadata.py: {len(metadata.class_names)} classes",
    "features/table.py: {len(matrix)} images",
    "features/tsne.py: {len(features)} images",
    "inference/verify_bundle.py: {len(opened.members)} members",
    "io/untrusted/zip_file.py: {len(members)} members",
    "report/info_checks.py: {test.images} test images",
    "report/sections/calibration.py: {len(drawn)} classes",
    "training/setup/leakage.py: {len(split.rows)} images",
)
"""Texts that are written for more than one only, such as the members of an ensemble."""


def faults(source: str) -> Iterator[str]:
    """Yield the numbers before a noun in the plural that f-strings write without `counted`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for one, other in pairwise(node.values):
                if isinstance(one, ast.FormattedValue) and isinstance(other, ast.Constant):
                    number, match = ast.unparse(one.value), FOLLOWED.match(str(other.value))
                    if match and A_NUMBER.search(number) and "counted" not in number:
                        yield f"{{{number}}}{match[0]}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('f"{len(paths)} images"', ["{len(paths)} images"]),
        ('f"only {count} training images"', ["{count} training images"]),
        ("f\"{counted(len(paths), 'image')} of {name} images\"", []),
        ('f"{name} images"', []),
    ],
)
def test_faults_are_found(source: str, found: list[str]) -> None:
    assert [*faults(source)] == found


def test_no_message_counts_without_the_helper() -> None:
    found = {
        f"{path.relative_to(REPOSITORY / 'transfer_cli').as_posix()}: {fault}"
        for path in (REPOSITORY / "transfer_cli").rglob("*.py")
        for fault in faults(path.read_text("utf-8"))
    }
    assert sorted(found) == sorted(MORE_THAN_ONE)


def test_plural_and_duration() -> None:
    assert [plural(noun) for noun in ("image", "class", "batch", "copy", "day")] == [
        *("images", "classes", "batches", "copies", "days"),
    ]
    assert [counted(number, "class", "has") for number in (0, 1, 1000)] == [
        *("0 classes have", "1 class has", "1,000 classes have"),
    ]
    assert [duration_text(seconds) for seconds in (1, 2, 60, 90, 7200)] == [
        *("1 second", "2 seconds", "1 minute", "1.5 minutes", "2 hours"),
    ]
