"""Fit the combination of several models on val."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from transfer_cli.catalog import ensemble_methods
from transfer_cli.ensembling import fit_combination
from transfer_cli.ensembling.fit_combination import (
    FittedCombination,
    em_mixture_weights,
    fit_member_weights,
    greedy_picks,
)
from transfer_cli.ensembling.members import MemberPredictions
from transfer_cli.errors import InputError
from transfer_cli.inference.ensemble_model import MemberProbabilities, weighted_mean
from transfer_cli.metrics.scores import log_loss
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe

Truth = NDArray[np.int64]
CLASSES = 4


def predictions(strengths: list[float], images: int = 400, seed: int = 0) -> tuple[MemberProbabilities, Truth]:
    """Return predictions of models of different strength, and the truth; strength 0 is random."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, images)
    logits = random.normal(size=(len(strengths), images, CLASSES))
    logits += np.array(strengths)[:, None, None] * np.eye(CLASSES)[truth]
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=2, keepdims=True), np.float32), truth


def no_cost(chosen: Sequence[int]) -> float:
    return 0.0


def fit(
    combination: str, probabilities: MemberProbabilities, truth: Truth, group_ids: NDArray[np.int64]
) -> FittedCombination:
    val = MemberPredictions(np.arange(len(truth)), truth, probabilities, group_ids)
    return fit_combination.fit(combination, val, EnsembleRecipe(), no_cost)


def accuracy(probabilities: NDArray[np.float32], truth: Truth) -> float:
    return float((probabilities.argmax(axis=1) == truth).mean())


def test_em_mixture_weights_recover_a_known_mixture() -> None:
    """80 % of the images come from one source, 20 % from another, and each model knows one source."""
    random = np.random.default_rng(3)
    of_source = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    source = (random.random(20_000) < 0.2).astype(int)
    truth = np.array([random.choice(3, p=of_source[one]) for one in source])
    probabilities = np.repeat(of_source[:, None, :], len(truth), axis=1).astype(np.float32)
    np.testing.assert_allclose(em_mixture_weights(probabilities, truth), [0.8, 0.2], atol=0.02)


def test_em_mixture_weights_minimise_log_loss() -> None:
    probabilities, truth = predictions([2.0, 1.0, 0.0])
    weights = em_mixture_weights(probabilities, truth)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    best = log_loss(truth, weighted_mean(probabilities, weights.tolist()))
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 200):
        assert best <= log_loss(truth, weighted_mean(probabilities, other.tolist())) + 1e-6


def test_em_mixture_weights_multi_label() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, (300, 3))
    knows = np.clip(0.8 * truth + 0.1, 0, 1)
    probabilities = np.stack([knows, random.uniform(size=truth.shape)]).astype(np.float32)
    assert em_mixture_weights(probabilities, truth)[0] > 0.95


def test_greedy_picks_best_first_and_leaves_out_random_model() -> None:
    probabilities, truth = predictions([1.5, 1.4, 0.0])
    picks = greedy_picks(probabilities, truth, EnsembleOptions(), no_cost)
    assert picks[0] == 0
    assert set(picks) == {0, 1}
    assert greedy_picks(probabilities, truth, EnsembleOptions(max_models=1), no_cost) == (0,)


def test_greedy_picks_respect_ms_per_image() -> None:
    probabilities, truth = predictions([2.0, 1.0, 0.9])
    milliseconds = [50.0, 4.0, 5.0]

    def cost_of(chosen: Sequence[int]) -> float:
        return sum(milliseconds[model] for model in chosen)

    assert set(greedy_picks(probabilities, truth, EnsembleOptions(max_ms=9), cost_of)) == {1, 2}
    assert set(greedy_picks(probabilities, truth, EnsembleOptions(max_ms=4), cost_of)) == {1}
    assert 0 in greedy_picks(probabilities, truth, EnsembleOptions(max_ms=100), cost_of)
    with pytest.raises(InputError, match=r"the fastest takes 4\.0 ms"):
        greedy_picks(probabilities, truth, EnsembleOptions(max_ms=3), cost_of)


@pytest.mark.parametrize("combination", [row for row in ensemble_methods.names() if ensemble_methods.find(row).fitted])
def test_fit_held_out_predictions_are_not_overfitted(combination: str) -> None:
    """The predictions are cross-validated: they cannot show what the combination memorised."""
    probabilities, truth = predictions([0.0, 0.0, 0.0], images=60)
    fitted = fit(combination, probabilities, truth, np.arange(len(truth)))
    assert fitted.held_out is not None
    assert fitted.held_out.shape == (60, CLASSES)
    assert accuracy(fitted.held_out, truth) < 0.5
    np.testing.assert_allclose(fitted(probabilities).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("combination", [row for row in ensemble_methods.names() if ensemble_methods.find(row).fitted])
def test_fit_is_about_as_good_as_the_best_member_on_new_images(combination: str) -> None:
    probabilities, truth = predictions([1.6, 1.2, 0.2], images=300)
    fitted = fit(combination, probabilities, truth, np.arange(len(truth)))
    other, its_truth = predictions([1.6, 1.2, 0.2], images=4000, seed=9)
    best = max(accuracy(each, its_truth) for each in other)
    assert accuracy(fitted(other), its_truth) > best - 0.01
    # Counter-check: with bad weights the ensemble is worse.
    assert accuracy(weighted_mean(other, [0, 0, 1]), its_truth) < best - 0.01


def test_fit_member_weights_treats_classes_equally() -> None:
    probabilities, truth = predictions([2.0, 0.5, 0.0], images=2000)
    linear = fit_member_weights(probabilities, truth, CLASSES)
    blocks = linear.kernel.reshape(3, CLASSES, CLASSES)
    for block in blocks:
        np.testing.assert_allclose(block, block[0, 0] * np.eye(CLASSES))
    assert blocks[0, 0, 0] > blocks[1, 0, 0] > blocks[2, 0, 0] - 0.05
    assert not linear.bias.any()


def test_fit_stack_with_few_images_uses_one_weight_per_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 60 images a classifier with 4 x 3 x 4 weights is worse; with many images it can be better."""
    probabilities, truth = predictions([1.6, 1.2, 0.2], images=60)
    few = fit(ensemble_methods.STACK, probabilities, truth, np.arange(60))
    assert few.linear is not None
    assert np.count_nonzero(few.linear.kernel) == 3 * CLASSES
    # A model that swaps classes 0 and 1: one weight per member cannot correct that.
    probabilities, truth = predictions([3.0], images=600)
    probabilities = probabilities[:, :, [1, 0, 2, 3]]
    crossed = fit(ensemble_methods.STACK, np.concatenate([probabilities, probabilities]), truth, np.arange(600))
    assert crossed.linear is not None
    assert np.count_nonzero(crossed.linear.kernel) > 2 * CLASSES
    assert crossed.held_out is not None
    assert accuracy(crossed.held_out, truth) > 0.8


def test_fit_keeps_groups_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, truth = predictions([1.0, 0.5], images=100)
    seen = []
    folds = fit_combination.folds

    def watched(*words: object) -> object:
        found = folds(*words)  # type: ignore[arg-type]
        seen.extend(found)
        return found

    monkeypatch.setattr(fit_combination, "folds", watched)
    group_ids = np.arange(100) // 2
    fit(ensemble_methods.WEIGHTED, probabilities, np.repeat(truth[::2], 2), group_ids)
    assert len(seen) == 5
    assert all(not set(group_ids[train]) & set(group_ids[rows]) for train, rows in seen)


def test_fit_weighted_drops_members_with_negligible_weight() -> None:
    probabilities, truth = predictions([3.0, 0.0], images=400)
    fitted = fit(ensemble_methods.WEIGHTED, probabilities, truth, np.arange(400))
    assert fitted.weights == (1.0, 0.0)
    # Counter-check: two equally good members both keep their weight.
    probabilities, truth = predictions([1.5, 1.5], images=400)
    assert min(fit(ensemble_methods.WEIGHTED, probabilities, truth, np.arange(400)).weights) > 0.3
