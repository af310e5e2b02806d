from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.calibration.rejection import Rejection
from transfer_cli.errors import ModelError

WIDTH = 8
COUNT = 400


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features of two classes, the truth, calibrated predictions, and features of a third, unknown class."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 2 * COUNT)
    centres = np.zeros((3, WIDTH))
    centres[0, 0] = centres[1, 1] = centres[2, 2] = 4
    features = centres[truth] + random.normal(0, 1, (2 * COUNT, WIDTH))
    lead = features[:, 1] - features[:, 0]
    second = 1 / (1 + np.exp(-lead))
    probabilities = np.stack([1 - second, second], axis=1).astype(np.float32)
    foreign = centres[2] + random.normal(0, 1, (COUNT, WIDTH))
    return features.astype(np.float32), truth, probabilities, foreign.astype(np.float32)


def fitted() -> Rejection:
    features, truth, probabilities, _ = world()
    val = np.arange(COUNT, 2 * COUNT)
    rejection = Rejection.fit(features, np.arange(COUNT), val, probabilities[val], truth[val])
    assert rejection is not None
    return rejection


def test_threshold_has_its_coverage_on_new_images_and_rejects_out_of_distribution() -> None:
    rejection = fitted()
    features, _, probabilities, foreign = world(seed=1)
    confident = np.tile(np.array([[0.999, 0.001]], np.float32), (COUNT, 1))
    for coverage in (0.8, 0.92):
        threshold = rejection.threshold_for(coverage)
        assert threshold.coverage == pytest.approx(coverage, abs=0.01)
        assert threshold.error_rate <= threshold.error_rate_of_all
        kept = rejection.scores(probabilities, features) >= threshold.score
        assert kept.mean() == pytest.approx(coverage, abs=0.05)
        # They are rejected by their distance, however confident the model is.
        assert (rejection.scores(confident, foreign) < threshold.score).mean() > 0.95


def test_without_distance_out_of_distribution_images_are_kept() -> None:
    # Control: with infinite reference distances every image is near, so confident predictions are kept.
    rejection = fitted()
    blind = replace(rejection, distance=np.full(COUNT, 1e6, np.float32))
    foreign = world()[3]
    confident = np.tile(np.array([[0.999, 0.001]], np.float32), (COUNT, 1))
    assert (blind.scores(confident, foreign) < rejection.threshold_for().score).mean() < 0.1


def test_low_confidence_is_rejected_at_any_distance() -> None:
    rejection = fitted()
    features = world()[0][:COUNT]
    unsure = np.full((COUNT, 2), 0.5, np.float32)
    assert (rejection.scores(unsure, features) < rejection.threshold_for().score).all()


def test_threshold_for_full_coverage_keeps_all_of_val() -> None:
    threshold = fitted().threshold_for(1.0)
    assert threshold.coverage == 1
    assert threshold.error_rate == threshold.error_rate_of_all


def test_fit_compares_a_training_image_with_the_others() -> None:
    features, truth, probabilities, _ = world()
    rows = np.arange(COUNT)
    own = Rejection.fit(features, rows, rows, probabilities[rows], truth[rows])
    apart = fitted()
    assert own is not None
    assert own.distance.mean() == pytest.approx(apart.distance.mean(), rel=0.1)
    assert (own.distance > 1e-4).all()


def test_fit_after_a_refit_uses_the_earlier_network() -> None:
    # After a refit on train + val, validation images are next to training images.
    features, truth, probabilities, _ = world()
    train, val = np.arange(COUNT), np.arange(COUNT, 2 * COUNT)
    after = features.copy()
    after[val] = after[train]
    earlier = features[train], features[val]
    fitted_before = Rejection.fit(after, train, val, probabilities[val], truth[val], earlier=earlier)
    assert fitted_before is not None
    assert fitted_before.distance == pytest.approx(fitted().distance, rel=1e-5)
    new, _, new_probabilities, _ = world(seed=1)
    kept = (fitted_before.scores(new_probabilities, new) >= fitted_before.threshold_for(0.9).score).mean()
    assert kept == pytest.approx(0.9, abs=0.04)
    # Control: with the distances of the refitted network, too many new images are rejected.
    blind = Rejection.fit(after, train, val, probabilities[val], truth[val])
    assert blind is not None
    assert (blind.scores(new_probabilities, new) >= blind.threshold_for(0.9).score).mean() < kept - 0.04


def test_summary_mentions_few_validation_images() -> None:
    features, truth, probabilities, _ = world()
    val = np.arange(COUNT, COUNT + 18)
    few = Rejection.fit(features, np.arange(COUNT), val, probabilities[val], truth[val])
    assert few is not None
    assert few.threshold_for().summary().endswith("; unreliable, since there are only 18")
    threshold = fitted().threshold_for()
    assert threshold.summary() == (
        f"92% of validation images keep a label; {threshold.error_rate:.0%} of those are wrong "
        f"({threshold.error_rate_of_all:.0%} without the threshold)"
    )


def test_fit_many_images_uses_a_reproducible_sample() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(3000, 4000)).astype(np.float32)
    truth = np.zeros(3000, np.int64)
    probabilities = np.ones((3000, 1), np.float32)
    rejection = Rejection.fit(features, np.arange(3000), np.arange(3000), probabilities, truth)
    assert rejection is not None
    assert rejection.reference.shape == (1000, 4000)
    again = Rejection.fit(features, np.arange(3000), np.arange(3000), probabilities, truth)
    assert again is not None
    assert (again.reference == rejection.reference).all()


def test_fit_without_images_to_compare_is_none() -> None:
    features, truth, probabilities, _ = world()
    none = np.empty(0, np.int64)
    assert Rejection.fit(features, np.arange(COUNT), none, probabilities[none], truth[none]) is None
    assert Rejection.fit(features, np.arange(1), np.arange(5), probabilities[:5], truth[:5]) is None


def test_load_returns_what_save_wrote(tmp_path: Path) -> None:
    rejection = fitted()
    path = tmp_path / "rejection.npz"
    rejection.save(path)
    read = Rejection.load(path)
    assert all((getattr(read, name) == getattr(rejection, name)).all() for name in Rejection.__dataclass_fields__)


@pytest.mark.parametrize("damage", ["cut", "shape", "missing", "pickle"])
def test_load_invalid_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "rejection.npz"
    rejection = fitted()
    arrays = {name: getattr(rejection, name) for name in Rejection.__dataclass_fields__}
    if damage == "shape":
        arrays["score"] = arrays["score"][:-1]
    if damage == "missing":
        del arrays["distance"]
    if damage == "pickle":
        arrays["wrong"] = np.array([{"a": 1}], dtype=object)
    np.savez(path, **arrays)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"rejection\.npz"):
        Rejection.load(path)


def test_fit_does_not_compare_images_of_one_group() -> None:
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 8)
    features = (random.normal(0, 1, (40, 30))[person] + random.normal(0, 0.05, (len(person), 30))).astype(np.float32)
    rows, truth = np.arange(len(person)), person % 2
    probabilities = np.full((len(person), 2), 0.5, np.float32)
    new = random.normal(0, 1, (40, 30)).astype(np.float32)

    def rejected(groups: np.ndarray | None) -> float:
        rejection = Rejection.fit(features, rows, rows, probabilities, truth, groups=groups)
        assert rejection is not None
        scores = rejection.scores(np.full((40, 2), 0.5, np.float32), new)
        return float((scores < rejection.threshold_for(0.9).score).mean())

    # New people are as different as the people of val from each other. If images of one person are compared with each
    # other, all new people look different.
    assert rejected(person) < 0.35
    assert rejected(None) == 1
    few = Rejection.fit(features[:16], rows[:16], rows[:16], probabilities[:16], truth[:16], groups=person[:16])
    assert few is not None
    assert np.isfinite(few.distance).all()
    assert Rejection.fit(features[:8], rows[:8], rows[:8], probabilities[:8], truth[:8], groups=person[:8]) is None
