"""Errors and warnings for Python users name keyword arguments, not options of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from transfer_cli import image_classifier, training_options
from transfer_cli.errors import RunConflictError, TransferError
from transfer_cli.keywords import hints
from transfer_cli.python_wording import FLAGS, KEYWORDS, in_python, python_errors, speaks_python

KEYWORDS_OF = (
    *(training_options.ExtractKeywords, training_options.FinetuneKeywords, training_options.AutoKeywords),
    *(training_options.EnsembleKeywords, image_classifier.PredictKeywords, image_classifier.EvaluateKeywords),
    *(image_classifier.ExplainKeywords, image_classifier.ExportKeywords, training_options.RepeatKeywords),
)


def test_each_keyword_is_known() -> None:
    typed = {name: hint for options in KEYWORDS_OF for name, hint in hints(options)}
    flags = {name for name, hint in typed.items() if bool in (hint, *get_args(hint))}
    assert {*FLAGS} == {*flags, "plan", "progress"}
    assert {*KEYWORDS} == {*typed.keys() - flags, "format"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Choose another folder with -o DIR.", "Choose another folder with output=DIR."),
        ("Choose another name with -o.", "Choose another name with output=."),
        ("Use -o 'my run/a.csv' or -o b.csv", 'Use output="my run/a.csv" or output="b.csv"'),
        ("Omit --strict to skip it.", "Omit strict=True to skip it."),
        ("Leave out --bags or --time-budget.", "Leave out bags= or time_budget=."),
        ("Increase it: --time-budget 1h30m", 'Increase it: time_budget="1h30m"'),
        ("--bags is 3 there and 2 here", "bags= is 3 there and 2 here"),
        ("--class-level 1. If it is the training set", "class_level=1. If it is the training set"),
        (
            "own.keras needs --preprocess (backbone.preprocess), how",
            "own.keras needs preprocess= (backbone.preprocess), how",
        ),
        ("--backbone own.keras --preprocess inside", 'backbone="own.keras", preprocess="inside"'),
        ("Received: --layer conv.", 'Received: layer="conv".'),
        ("Use --layer NAME, one of a, b.", "Use layer=NAME, one of a, b."),
        ("with --set SECTION.KEY=VALUE, such as", 'with set={"SECTION.KEY": VALUE}, such as'),
        ("a (--set batch_size=8), b (--set a.b=last:10%).", 'a (set={"batch_size": 8}), b (set={"a.b": "last:10%"}).'),
        ("--set classifier.tune=false --set seed=1.", 'set={"classifier.tune": False, "seed": 1}.'),
        ("(--set classifier.tune_seconds=...)", '(set={"classifier.tune_seconds": ...})'),
        ("same --set images.size and images.resize", 'same set={"images.size": ...} and images.resize'),
        ("--set stage.1.learning_rate=1e-05 --overwrite", 'set={"stage.1.learning_rate": 1e-05}, overwrite=True'),
        ("--no-tune, or --overwrite --seed 3", "tune=False, or overwrite=True, seed=3"),
        (r"a pattern: --group-by 'patient(\d+)'", r'a pattern: group_by=r"patient(\d+)"'),
        ("Remove --unknown, --coverage and --threshold.", "Remove unknown=True, coverage= and threshold=."),
        (
            "First: transfer-cli data split FOLDER --group-by x; then use --split.",
            "First: transfer-cli data split FOLDER --group-by x; then use split=.",
        ),
        ("smaller (transfer-cli backbones list), or --seed 3", "smaller (transfer-cli backbones list), or seed=3"),
        ("Try --steps 300, pip install -U x, a-o b, near-duplicates, 10 --- 3", None),
        ("No option at all.", None),
    ],
)
def test_options_become_keywords(text: str, expected: str | None) -> None:
    assert in_python(text) == (text if expected is None else expected)
    assert in_python(in_python(text)) == in_python(text)


def test_message_hint_and_attributes_are_translated() -> None:
    with pytest.raises(RunConflictError) as caught, python_errors():
        raise RunConflictError("runs/a", ["--seed is 1 there and 2 here"])
    assert str(caught.value) == "runs/a holds another run: seed= is 1 there and 2 here."
    assert caught.value.differences == ("seed= is 1 there and 2 here",)
    assert caught.value.hint == "Choose another place with output=RUN, or add overwrite=True to replace it."


def test_errors_of_an_iterator_are_translated() -> None:
    @speaks_python
    def numbers() -> Iterator[int]:
        yield 1
        raise TransferError("Omit --strict.")

    items = numbers()
    assert next(items) == 1
    with pytest.raises(TransferError, match=r"^Omit strict=True\.$"):
        next(items)
