"""Keyword arguments of a TypedDict are listed in the signature, and checked by name, type and value."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Literal, TypedDict, Unpack

import numpy as np
import pytest
from pydantic import Field

from transfer_cli.errors import InputError
from transfer_cli.keywords import takes


class Options(TypedDict, total=False):
    """Some keywords."""

    seed: Annotated[int, Field(ge=0)] | None
    share: Annotated[float, Field(ge=0, le=1)] | None
    pooling: Literal["avg", "max"] | None
    output: str | Path | None
    strict: bool
    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] | None


@takes(Options)
def train(folder: str, *, progress: bool = False, **keywords: Unpack[Options]) -> dict[str, object]:
    """Train."""
    return {"folder": folder, "progress": progress, **keywords}


def test_signature_lists_each_keyword_with_its_default() -> None:
    parameters = inspect.signature(train).parameters
    assert [*parameters] == ["folder", "progress", "seed", "share", "pooling", "output", "strict", "epochs"]
    assert parameters["seed"].default is None
    assert parameters["strict"].default is False
    assert train.__doc__ == "Train."


def test_keywords_are_handed_on_as_given() -> None:
    given = {"seed": np.int64(3), "share": np.float32(0.5), "pooling": "avg", "output": Path("x"), "strict": True}
    assert train("a", progress=True, **given) == {"folder": "a", "progress": True, **given}  # type: ignore[arg-type]
    assert train("a", seed=None, share=1) == {"folder": "a", "progress": False, "seed": None, "share": 1}


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"sed": 1}, TypeError, r"train\(\) has no argument 'sed'\. Did you mean seed\?"),
        ({"progres": True}, TypeError, r"Did you mean progress\?"),
        ({"zzz": 1}, TypeError, r"no argument 'zzz'\. Expected: seed, share, pooling, output, strict, epochs\."),
        ({"seed": "1"}, TypeError, r"train\(seed=\.\.\.\): expected int or None\. Received: '1'\."),
        ({"seed": True}, TypeError, r"Received: True\."),
        ({"output": 3}, TypeError, r"expected str, pathlib\.Path or None\. Received: 3\."),
        ({"progress": "yes"}, TypeError, r"train\(progress=\.\.\.\): expected bool\. Received: 'yes'\."),
        ({"strict": "yes"}, TypeError, r"expected bool\. Received: 'yes'\."),
        ({"seed": -1}, InputError, r"expected a value greater than or equal to 0\. Received: -1\."),
        ({"share": 80}, InputError, r"expected a value less than or equal to 1\. Received: 80\."),
        ({"pooling": "mean"}, InputError, r"expected 'avg', 'max' or None\. Received: 'mean'\."),
        ({"pooling": 3}, TypeError, r"expected 'avg', 'max' or None\. Received: 3\."),
        ({"share": True}, TypeError, r"expected float or None\. Received: True\."),
        ({"epochs": "2"}, TypeError, r"train\(epochs=\.\.\.\): expected int, 'auto' or None\. Received: '2'\."),
        ({"epochs": True}, TypeError, r"expected int, 'auto' or None\. Received: True\."),
        ({"epochs": 2.5}, TypeError, r"expected int, 'auto' or None\. Received: 2\.5\."),
        ({"epochs": 0}, InputError, r"expected a value greater than or equal to 1 or 'auto'\. Received: 0\."),
    ],
)
def test_wrong_keyword_is_refused(keywords: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train("a", **keywords)  # type: ignore[arg-type]
