from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_cli.errors import ModelError
from transfer_cli.export.parity import TOLERANCE, compare, predict_with_file, predictions_vary

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)


def test_compare_equal_predictions_is_exact() -> None:
    parity = compare(PROBABILITIES, PROBABILITIES)
    assert (parity.images, parity.max_abs_diff, parity.changed_labels, parity.fault) == (3, 0.0, 0, None)
    assert parity.is_exact


def test_compare_larger_difference_is_not_exact() -> None:
    predicted = PROBABILITIES.copy()
    predicted[0, 0] += 2 * TOLERANCE
    parity = compare(PROBABILITIES, predicted)
    assert parity.max_abs_diff == pytest.approx(2 * TOLERANCE, rel=1e-3)
    assert parity.changed_labels == 0
    assert not parity.is_exact
    assert parity.summary == "max abs diff 0.0002, changed labels on 0 of 3 images"


def test_compare_changed_label_within_tolerance_is_not_exact() -> None:
    close = np.array([[0.5, 0.5 - 1e-5]], np.float32)
    parity = compare(close, close[:, ::-1])
    assert parity.max_abs_diff < TOLERANCE
    assert parity.changed_labels == 1
    assert not parity.is_exact


def test_compare_tied_classes_in_any_order_is_exact() -> None:
    votes = np.array([[0.4, 0.4, 0.2]], np.float32)
    assert compare(votes, votes + np.array([[0, 1e-7, 0]], np.float32)).is_exact


def test_compare_thresholds_compares_sets_of_labels() -> None:
    close = np.array([[0.50001, 0.2], [0.3, 0.9]], np.float32)
    other = np.array([[0.49999, 0.2], [0.3, 0.9]], np.float32)
    assert compare(close, other, (0.5, 0.5)).changed_labels == 1
    assert compare(close, other, (0.6, 0.5)).is_exact


@pytest.mark.parametrize("predicted", [PROBABILITIES[:2], PROBABILITIES[:, :2], np.full_like(PROBABILITIES, np.nan)])
def test_compare_wrong_shape_or_nan_is_a_fault(predicted: np.ndarray) -> None:
    parity = compare(PROBABILITIES, predicted)
    assert parity.fault
    assert not parity.is_exact


def test_predictions_vary_constant_model_is_false() -> None:
    assert predictions_vary(PROBABILITIES)
    assert not predictions_vary(np.repeat(PROBABILITIES[:1], 5, axis=0))


def test_predict_with_file_invalid_file_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"model\.tflite"):
        predict_with_file(path, np.zeros((1, 8, 8, 3), np.uint8))


def test_predict_with_file_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nothing")
    (tmp_path / "types.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="has no transfer-cli metadata"):
        predict_with_file(path, np.zeros((1, 8, 8, 3), np.uint8))
