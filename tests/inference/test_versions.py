"""A classifier of another scikit-learn is loaded with one line that says so."""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace

import pytest

from transfer_cli.inference.load import _warn_of_other_sklearn

HERE = version("scikit-learn")


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize(
    ("trained", "files", "warns"),
    [
        ("1.0.2", ["classifier.skops"], True),
        (HERE, ["classifier.skops"], False),
        (None, ["classifier.skops"], False),
        # A matrix needs no scikit-learn.
        ("1.0.2", ["classifier.skops", "linear.npz"], False),
        ("1.0.2", [], False),
        # Not a version: nothing of it belongs into a command to type.
        ("1.0 --index-url http://example.org", ["classifier.skops"], False),
    ],
)
def test_load_warns_of_another_scikit_learn(trained: str | None, files: list[str], warns: bool) -> None:
    listener = Listener()
    bundle = SimpleNamespace(files=dict.fromkeys(files), versions={"scikit-learn": trained})
    _warn_of_other_sklearn(bundle, listener)  # type: ignore[arg-type]
    text = (
        f"the classifier was trained with scikit-learn {trained}, and {HERE} is installed: predictions may differ "
        f"slightly. To have the same version: pip install scikit-learn=={trained}"
    )
    assert listener.lines == ([text] if warns else [])
