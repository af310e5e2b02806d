"""What val says about joining answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling import fit_combination
from transfer_cli.ensembling.fit_combination import Limits, em_mixture_weights, fit, greedy_picks, weighing_models
from transfer_cli.errors import InputError
from transfer_cli.inference.combine import Given, weighted_mean
from transfer_cli.metrics.scores import log_loss

Truth = NDArray[np.int64]
CLASSES = 4


def answers(strengths: list[float], images: int = 400, seed: int = 0) -> tuple[Given, Truth]:
    """Return answers of models that know the truth more or less; one of strength 0 knows nothing."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, images)
    logits = random.normal(size=(len(strengths), images, CLASSES))
    logits += np.array(strengths)[:, None, None] * np.eye(CLASSES)[truth]
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=2, keepdims=True), np.float32), truth


def accuracy(given: NDArray[np.float32], truth: Truth) -> float:
    return float((given.argmax(axis=1) == truth).mean())


def test_weights_are_those_of_the_mixture() -> None:
    """Every picture comes from one of two sources in a share of 0.8 to 0.2, and each model knows one source."""
    random = np.random.default_rng(3)
    of_source = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    source = (random.random(20_000) < 0.2).astype(int)
    truth = np.array([random.choice(3, p=of_source[one]) for one in source])
    given = np.repeat(of_source[:, None, :], len(truth), axis=1).astype(np.float32)
    np.testing.assert_allclose(em_mixture_weights(given, truth), [0.8, 0.2], atol=0.02)


def test_weights_are_the_best_there_are() -> None:
    given, truth = answers([2.0, 1.0, 0.0])
    weights = em_mixture_weights(given, truth)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    best = log_loss(truth, weighted_mean(given, weights.tolist()))
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 200):
        assert best <= log_loss(truth, weighted_mean(given, other.tolist())) + 1e-6


def test_labels_count_one_by_one() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, (300, 3))
    knows = np.clip(0.8 * truth + 0.1, 0, 1)
    given = np.stack([knows, random.uniform(size=truth.shape)]).astype(np.float32)
    assert em_mixture_weights(given, truth)[0] > 0.95


def test_a_greedy_selection_takes_the_best_first_and_leaves_out_what_knows_nothing() -> None:
    given, truth = answers([1.5, 1.4, 0.0])
    picks = greedy_picks(given, truth, Limits())
    assert picks[0] == 0
    assert set(picks) == {0, 1}
    assert greedy_picks(given, truth, Limits(models=1)) == (0,)


def test_a_greedy_selection_keeps_within_its_time() -> None:
    given, truth = answers([2.0, 1.0, 0.9])
    milliseconds = [50.0, 4.0, 5.0]

    def cost_of(chosen: object) -> float:
        return sum(milliseconds[model] for model in chosen)  # type: ignore[attr-defined]

    assert set(greedy_picks(given, truth, Limits(milliseconds=9), cost_of)) == {1, 2}
    assert set(greedy_picks(given, truth, Limits(milliseconds=4), cost_of)) == {1}
    assert 0 in greedy_picks(given, truth, Limits(milliseconds=100), cost_of)
    with pytest.raises(InputError, match=r"the fastest takes 4\.0 ms"):
        greedy_picks(given, truth, Limits(milliseconds=3), cost_of)


@pytest.mark.parametrize("combination", [row for row in ensemble_methods.names() if ensemble_methods.find(row).fitted])
def test_what_is_fitted_on_val_is_no_better_there_than_elsewhere(combination: str) -> None:
    """Its figures of val are of folds: what a member learnt by heart of val would show in them otherwise."""
    given, truth = answers([0.0, 0.0, 0.0], images=60)
    joined = fit(combination, given, truth, np.arange(len(truth)))
    assert joined.held_out is not None
    assert joined.held_out.shape == (60, CLASSES)
    assert accuracy(joined.held_out, truth) < 0.5
    np.testing.assert_allclose(joined(given).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("combination", [row for row in ensemble_methods.names() if ensemble_methods.find(row).fitted])
def test_on_other_pictures_it_is_about_as_good_as_the_best(combination: str) -> None:
    given, truth = answers([1.6, 1.2, 0.2], images=300)
    joined = fit(combination, given, truth, np.arange(len(truth)))
    other, its_truth = answers([1.6, 1.2, 0.2], images=4000, seed=9)
    best = max(accuracy(each, its_truth) for each in other)
    assert accuracy(joined(other), its_truth) > best - 0.01
    # The twin: joined by chance it is not.
    assert accuracy(weighted_mean(other, [0, 0, 1]), its_truth) < best - 0.01


def test_one_weight_a_model_is_a_matrix_that_treats_classes_alike() -> None:
    given, truth = answers([2.0, 0.5, 0.0], images=2000)
    linear = weighing_models(given, truth, CLASSES)
    blocks = linear.kernel.reshape(3, CLASSES, CLASSES)
    for block in blocks:
        np.testing.assert_allclose(block, block[0, 0] * np.eye(CLASSES))
    assert blocks[0, 0, 0] > blocks[1, 0, 0] > blocks[2, 0, 0] - 0.05
    assert not linear.bias.any()


def test_few_pictures_are_left_to_one_weight_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 60 pictures a classifier of 4 x 3 x 4 numbers is the worse one, with 6000 it may be the better."""
    given, truth = answers([1.6, 1.2, 0.2], images=60)
    few = fit(ensemble_methods.STACK, given, truth, np.arange(60))
    assert few.linear is not None
    assert np.count_nonzero(few.linear.kernel) == 3 * CLASSES
    # One model takes class 0 for class 1 and the other way round: one weight a model cannot mend that.
    given, truth = answers([3.0], images=600)
    given = given[:, :, [1, 0, 2, 3]]
    crossed = fit(ensemble_methods.STACK, np.concatenate([given, given]), truth, np.arange(600))
    assert crossed.linear is not None
    assert np.count_nonzero(crossed.linear.kernel) > 2 * CLASSES
    assert crossed.held_out is not None
    assert accuracy(crossed.held_out, truth) > 0.8


def test_relatives_are_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    given, truth = answers([1.0, 0.5], images=100)
    seen = []
    folds = fit_combination.folds

    def watched(*words: object) -> object:
        found = folds(*words)  # type: ignore[arg-type]
        seen.extend(found)
        return found

    monkeypatch.setattr(fit_combination, "folds", watched)
    assign_group_ids = np.arange(100) // 2
    fit(ensemble_methods.WEIGHTED, given, np.repeat(truth[::2], 2), assign_group_ids)
    assert len(seen) == 5
    assert all(not set(assign_group_ids[train]) & set(assign_group_ids[rows]) for train, rows in seen)


def test_a_member_that_changes_next_to_nothing_is_left_out() -> None:
    given, truth = answers([3.0, 0.0], images=400)
    joined = fit(ensemble_methods.WEIGHTED, given, truth, np.arange(400))
    assert joined.weights == (1.0, 0.0)
    # The twin: two that are as good both have their say.
    given, truth = answers([1.5, 1.5], images=400)
    assert min(fit(ensemble_methods.WEIGHTED, given, truth, np.arange(400)).weights) > 0.3
