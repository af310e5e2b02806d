"""Whether two sets of answers are the same, and an exported file is asked in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_cli.errors import ModelError
from transfer_cli.export.parity import MOST_OFF, answers_of, compare, tells_apart

ANSWERS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)


def test_the_same_answers_are_exact() -> None:
    parity = compare(ANSWERS, ANSWERS)
    assert (parity.images, parity.deviation, parity.changed, parity.fault) == (3, 0.0, 0, None)
    assert parity.is_exact


def test_a_probability_that_is_off_is_seen() -> None:
    off = ANSWERS.copy()
    off[0, 0] += 2 * MOST_OFF
    parity = compare(ANSWERS, off)
    assert parity.deviation == pytest.approx(2 * MOST_OFF, rel=1e-3)
    assert parity.changed == 0
    assert not parity.is_exact


def test_another_class_is_seen_however_little_it_takes() -> None:
    close = np.array([[0.5, 0.5 - 1e-5]], np.float32)
    parity = compare(close, close[:, ::-1])
    assert parity.deviation < MOST_OFF
    assert parity.changed == 1
    assert not parity.is_exact


def test_of_equals_either_may_come_first() -> None:
    votes = np.array([[0.4, 0.4, 0.2]], np.float32)
    assert compare(votes, votes + np.array([[0, 1e-7, 0]], np.float32)).is_exact


def test_of_several_labels_the_set_counts() -> None:
    close = np.array([[0.50001, 0.2], [0.3, 0.9]], np.float32)
    other = np.array([[0.49999, 0.2], [0.3, 0.9]], np.float32)
    assert compare(close, other, (0.5, 0.5)).changed == 1
    assert compare(close, other, (0.6, 0.5)).is_exact


@pytest.mark.parametrize("given", [ANSWERS[:2], ANSWERS[:, :2], np.full_like(ANSWERS, np.nan)])
def test_what_cannot_be_compared_is_a_fault(given: np.ndarray) -> None:
    parity = compare(ANSWERS, given)
    assert parity.fault
    assert not parity.is_exact


def test_a_model_that_says_one_thing_of_all_pictures_proves_nothing() -> None:
    assert tells_apart(ANSWERS)
    assert not tells_apart(np.repeat(ANSWERS[:1], 5, axis=0))


def test_a_file_that_does_not_run_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"model\.tflite"):
        answers_of(path, np.zeros((1, 8, 8, 3), np.uint8))


def test_nothing_is_imported_from_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"nothing")
    (tmp_path / "types.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="does not say what it is"):
        answers_of(path, np.zeros((1, 8, 8, 3), np.uint8))
