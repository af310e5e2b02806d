"""A folded classifier gives what scikit-learn gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_cli.catalog.classifiers import CLASSIFIERS, find
from transfer_cli.classifiers import fit
from transfer_cli.classifiers.linear import MAX_ABS_DIFF, Linear
from transfer_cli.errors import ModelError

LINEAR = [name for name, spec in CLASSIFIERS.items() if spec.linear]
RANDOM = np.random.default_rng(5)


def rows(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features, some of them large, some nearly the same everywhere, and the class of each row."""
    truth = np.arange(60) % classes
    features = RANDOM.normal(0, [1, 100, 1e-3, 5], (60, 4)) + truth[:, None]
    return features.astype(np.float32), truth


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("learnt", [(0, 1), (0, 1, 2), (0, 2, 3)], ids=["two", "three", "one missing"])
def test_fold_probabilities_equal_scikit_learn(name: str, learnt: tuple[int, ...], tmp_path: Path) -> None:
    features, truth = rows(len(learnt))
    truth = np.array(learnt)[truth]
    classes = max(learnt) + 1
    fitted = fit.fit(find(name), features, truth, fit.FitOptions(classes=classes, tune=False))
    folded = Linear.fold(fitted.pipeline, classes)
    folded.save(tmp_path / "linear.npz")
    given = fit.probabilities(fitted.pipeline, features, classes)
    np.testing.assert_allclose(Linear.load(tmp_path / "linear.npz").probabilities(features), given, atol=1e-6)
    assert folded.agrees_with(lambda part: fit.probabilities(fitted.pipeline, part, classes), features)


@pytest.mark.parametrize("fault", ["scale", "bias", "order"])
def test_agrees_with_planted_fault_is_found(fault: str) -> None:
    features, truth = rows(3)
    fitted = fit.fit(find("logistic"), features, truth, fit.FitOptions(classes=3, tune=False))
    folded = Linear.fold(fitted.pipeline, 3)
    wrong = {
        "scale": Linear(folded.kernel * 1.01, folded.bias),
        "bias": Linear(folded.kernel, folded.bias + np.array([0.01, 0, 0])),
        "order": Linear(folded.kernel[:, ::-1], folded.bias[::-1]),
    }[fault]
    assert not wrong.agrees_with(lambda part: fit.probabilities(fitted.pipeline, part, 3), features)
    assert MAX_ABS_DIFF <= 1e-4


def test_catalog_marks_linear_classifiers() -> None:
    assert LINEAR == ["logistic", "lda"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", None])
def test_load_invalid_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "linear.npz"
    if content is None:
        np.savez(path, kernel=np.zeros((3, 2)), bias=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError):
        Linear.load(path)
