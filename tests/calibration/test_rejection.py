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
    """Return features of two classes, their truth, what a fair model says of them, and features of something else."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 2 * COUNT)
    centres = np.zeros((3, WIDTH))
    centres[0, 0] = centres[1, 1] = centres[2, 2] = 4
    features = centres[truth] + random.normal(0, 1, (2 * COUNT, WIDTH))
    lead = features[:, 1] - features[:, 0]
    second = 1 / (1 + np.exp(-lead))
    said = np.stack([1 - second, second], axis=1).astype(np.float32)
    foreign = centres[2] + random.normal(0, 1, (COUNT, WIDTH))
    return features.astype(np.float32), truth, said, foreign.astype(np.float32)


def fitted() -> Rejection:
    features, truth, said, _ = world()
    val = np.arange(COUNT, 2 * COUNT)
    found = Rejection.fit(features, np.arange(COUNT), val, said[val], truth[val])
    assert found is not None
    return found


def test_the_bar_keeps_what_it_says_of_new_pictures_and_rejects_others() -> None:
    rejection = fitted()
    features, _, said, foreign = world(seed=1)
    sure = np.tile(np.array([[0.999, 0.001]], np.float32), (COUNT, 1))
    for coverage in (0.8, 0.92):
        bar = rejection.bar(coverage)
        assert bar.coverage == pytest.approx(coverage, abs=0.01)
        assert bar.risk <= bar.risk_of_all
        assert (rejection.scores(said, features) >= bar.score).mean() == pytest.approx(coverage, abs=0.05)
        # However sure the model is of them: their distance tells.
        assert (rejection.scores(sure, foreign) < bar.score).mean() > 0.95


def test_without_the_distance_foreign_pictures_pass() -> None:
    # The twin: what is sure is kept where every picture is as near as can be.
    rejection = fitted()
    blind = replace(rejection, distance=np.full(COUNT, 1e6, np.float32))
    foreign = world()[3]
    sure = np.tile(np.array([[0.999, 0.001]], np.float32), (COUNT, 1))
    assert (blind.scores(sure, foreign) < rejection.bar().score).mean() < 0.1


def test_unsure_pictures_are_rejected_however_near() -> None:
    rejection = fitted()
    features = world()[0][:COUNT]
    unsure = np.full((COUNT, 2), 0.5, np.float32)
    assert (rejection.scores(unsure, features) < rejection.bar().score).all()


def test_everything_of_val_is_kept_where_that_is_asked_for() -> None:
    bar = fitted().bar(1.0)
    assert bar.coverage == 1
    assert bar.risk == bar.risk_of_all


def test_a_picture_that_was_learnt_from_is_compared_with_the_others() -> None:
    features, truth, said, _ = world()
    rows = np.arange(COUNT)
    own = Rejection.fit(features, rows, rows, said[rows], truth[rows])
    apart = fitted()
    assert own is not None
    assert own.distance.mean() == pytest.approx(apart.distance.mean(), rel=0.1)
    assert (own.distance > 1e-4).all()


def test_a_network_that_learnt_from_val_is_judged_by_what_it_was_before() -> None:
    # The network spreads out after it has learnt from val, which then lies beside its training pictures.
    features, truth, said, _ = world()
    train, val = np.arange(COUNT), np.arange(COUNT, 2 * COUNT)
    after = features.copy()
    after[val] = after[train]
    earlier = features[train], features[val]
    fitted_before = Rejection.fit(after, train, val, said[val], truth[val], earlier=earlier)
    assert fitted_before is not None
    assert fitted_before.distance == pytest.approx(fitted().distance, rel=1e-5)
    new, _, new_said, _ = world(seed=1)
    kept = (fitted_before.scores(new_said, new) >= fitted_before.bar(0.9).score).mean()
    assert kept == pytest.approx(0.9, abs=0.04)
    # The twin: by the distances of pictures that were learnt from, too many new ones are rejected.
    blind = Rejection.fit(after, train, val, said[val], truth[val])
    assert blind is not None
    assert (blind.scores(new_said, new) >= blind.bar(0.9).score).mean() < kept - 0.04


def test_few_pictures_are_said() -> None:
    features, truth, said, _ = world()
    val = np.arange(COUNT, COUNT + 18)
    few = Rejection.fit(features, np.arange(COUNT), val, said[val], truth[val])
    assert few is not None
    assert few.bar().summary().startswith("on val (18 pictures, which are few to fit a bar on) this keeps")
    assert fitted().bar().summary().startswith(f"on val ({COUNT} pictures) this keeps 92% of the pictures, of which")


def test_very_many_pictures_are_a_sample() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(3000, 4000)).astype(np.float32)
    truth = np.zeros(3000, np.int64)
    said = np.ones((3000, 1), np.float32)
    found = Rejection.fit(features, np.arange(3000), np.arange(3000), said, truth)
    assert found is not None
    assert found.reference.shape == (1000, 4000)
    again = Rejection.fit(features, np.arange(3000), np.arange(3000), said, truth)
    assert again is not None
    assert (again.reference == found.reference).all()


def test_nothing_to_compare_with() -> None:
    features, truth, said, _ = world()
    none = np.empty(0, np.int64)
    assert Rejection.fit(features, np.arange(COUNT), none, said[none], truth[none]) is None
    assert Rejection.fit(features, np.arange(1), np.arange(5), said[:5], truth[:5]) is None


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    rejection = fitted()
    path = tmp_path / "rejection.npz"
    rejection.save(path)
    read = Rejection.load(path)
    assert all((getattr(read, name) == getattr(rejection, name)).all() for name in Rejection.__dataclass_fields__)


@pytest.mark.parametrize("damage", ["cut", "shape", "missing", "pickle"])
def test_a_file_of_something_else_is_refused(damage: str, tmp_path: Path) -> None:
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


def test_relatives_of_a_picture_are_not_what_it_is_compared_with() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 8)
    features = (random.normal(0, 1, (40, 30))[who] + random.normal(0, 0.05, (len(who), 30))).astype(np.float32)
    rows, truth = np.arange(len(who)), who % 2
    said = np.full((len(who), 2), 0.5, np.float32)
    new = random.normal(0, 1, (40, 30)).astype(np.float32)

    def rejected(groups: np.ndarray | None) -> float:
        found = Rejection.fit(features, rows, rows, said, truth, groups=groups)
        assert found is not None
        return float((found.scores(np.full((40, 2), 0.5, np.float32), new) < found.bar(0.9).score).mean())

    # New people are no odder than those of val were to one another; compared with themselves, all look odd.
    assert rejected(who) < 0.35
    assert rejected(None) == 1
    few = Rejection.fit(features[:16], rows[:16], rows[:16], said[:16], truth[:16], groups=who[:16])
    assert few is not None
    assert np.isfinite(few.distance).all()
    assert Rejection.fit(features[:8], rows[:8], rows[:8], said[:8], truth[:8], groups=who[:8]) is None
