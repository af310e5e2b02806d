"""Paired intervals have their nominal coverage, and only predictions for the same images are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transfer_cli.errors import InputError
from transfer_cli.evaluation import comparison
from transfer_cli.evaluation.comparison import COMPARED, SIGNIFICANT, accuracy_drop, compare, holm, mcnemar
from transfer_cli.evaluation.paired_predictions import ModelPredictions
from transfer_cli.metrics.intervals import Resamples
from transfer_cli.metrics.metrics_table import replicate_metrics

CLASSES = 3


def draw(random: np.random.Generator, count: int, gain: float = 0.3) -> tuple[ModelPredictions, ModelPredictions]:
    """Return the predictions of two models with correlated errors; the second model is slightly better."""
    truth = random.integers(0, CLASSES, count)
    hard = random.normal(size=(count, CLASSES))
    images = tuple((f"{number:06}.png", f"sha{number}") for number in range(count))
    models = []
    for name, strength in (("one", 1.5), ("two", 1.5 + gain)):
        logits = hard + 0.5 * random.normal(size=(count, CLASSES)) + strength * np.eye(CLASSES)[truth]
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
        predicted = probabilities.argmax(axis=1)
        names = ("a", "b", "c")
        models.append(
            ModelPredictions(name, "test", names, "single-label", images, truth, predicted, probabilities, frozenset())
        )
    return models[0], models[1]


def coverage(times: int, images: int = 150) -> dict[str, float]:
    """Return how often the interval of each difference contains the difference on a very large sample."""
    random = np.random.default_rng(1)
    values = [comparison._values(each) for each in draw(random, 300_000)]
    true = {name: values[1][name] - values[0][name] for name in COMPARED}
    held = dict.fromkeys(COMPARED, 0)
    for seed in range(times):
        (pair,) = compare(draw(random, images), seed).pairs
        sign = 1 if pair.better == "two" else -1
        for name in COMPARED:
            low, high = pair.differences[name]["low"], pair.differences[name]["high"]
            assert low is not None
            assert high is not None
            held[name] += low <= sign * true[name] <= high
    return {name: count / times for name, count in held.items()}


@pytest.mark.integration
def test_compare_paired_intervals_have_nominal_coverage() -> None:
    shares = coverage(300)
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def test_compare_unpaired_bootstrap_has_too_wide_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(range(10**9))

    def unpaired(truth: object, probabilities: object, predicted: object, resamples: Resamples) -> object:
        other = replace(resamples, seed=next(drawn))
        return replicate_metrics(truth, probabilities, predicted, other)  # type: ignore[arg-type]

    monkeypatch.setattr(comparison, "replicate_metrics", unpaired)
    shares = coverage(100)
    assert all(share > 0.97 for share in shares.values()), shares


def test_compare_equal_models_rarely_significant_better_models_often() -> None:
    random = np.random.default_rng(0)
    significant = [
        sum(compare(draw(random, 200, gain)).pairs[0].p_adjusted < SIGNIFICANT for _ in range(30))
        for gain in (0.0, 1.0)
    ]
    assert significant[0] <= 3
    assert significant[1] >= 27


def test_mcnemar_and_holm_known_values() -> None:
    # 8 to 1 discordant images: 2 (1 + 9) / 2^9, computed by hand.
    one = np.array([True] * 8 + [False] + [True] * 20)
    two = np.array([False] * 8 + [True] + [True] * 20)
    assert mcnemar(one, two) == pytest.approx(2 * 10 / 512)
    assert mcnemar(one, one) == 1.0
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_compare_three_models_adjusts_p_values() -> None:
    one, two = draw(np.random.default_rng(2), 400, 0.8)
    third = replace(one, name="three")
    comparison = compare([one, two, third])
    assert (comparison.best, comparison.images, len(comparison.pairs)) == ("two", 400, 3)
    pair = comparison.pair("one", comparison.best)
    assert pair.p_adjusted == pytest.approx(3 * pair.p)
    difference = pair.differences["accuracy"]
    assert difference["value"] == pytest.approx(two.correct.mean() - one.correct.mean())
    assert pair.verdict().startswith(f"two is better by {100 * difference['value']:.1f} points (")
    assert next(pair for pair in comparison.pairs if "two" not in (pair.better, pair.other)).verdict() == (
        "not distinguishable at n = 400"
    )


def test_compare_training_images_of_one_model_are_left_out_for_all() -> None:
    one, two = draw(np.random.default_rng(2), 50)
    biased = replace(two, used=frozenset({"sha3", "sha7", "of another folder"}))
    comparison = compare([one, biased])
    assert (comparison.images, comparison.left_out) == (48, ("000003.png", "000007.png"))
    assert comparison.metrics["one"]["accuracy"]["value"] == np.delete(one.correct, [3, 7]).mean()
    everything = replace(two, used=frozenset(digest for _, digest in two.images))
    with pytest.raises(InputError, match="all 50 images trained or selected two"):
        compare([one, everything])


def test_compare_moved_images_are_matched_by_content() -> None:
    one, two = draw(np.random.default_rng(2), 50)
    # Identical files, within a class and across two classes.
    one, two = (
        replace(each, images=tuple((path, f"sha{number // 2}") for number, (path, _) in enumerate(each.images)))
        for each in (one, two)
    )
    rows = np.random.default_rng(0).permutation(50)
    moved = two.select(rows)
    moved = replace(moved, images=tuple((f"{path[-5]}/{path}", digest) for path, digest in moved.images))
    moved = moved.select(np.argsort([path for path, _ in moved.images]))
    comparison, before = compare([one, moved]), compare([one, two])
    assert (comparison.moved, before.moved) == (50, 0)
    for name in COMPARED:
        assert comparison.metrics["two"][name]["value"] == pytest.approx(before.metrics["two"][name]["value"])
    # Only files with the same content and label can be matched to each other.
    assert comparison.pairs[0].differences["accuracy"]["value"] == pytest.approx(
        before.pairs[0].differences["accuracy"]["value"]
    )
    with pytest.raises(InputError, match="different true labels"):
        compare([one, replace(moved, truth=np.roll(moved.truth, 1))])


def test_compare_moved_images_matched_by_path_order_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    # Counter-check: matched in the order of the paths, different images would be compared.
    one, two = draw(np.random.default_rng(2), 50)
    names = tuple((f"{49 - number:02}.png", digest) for number, (_, digest) in enumerate(two.images))
    moved = replace(two, images=names).select(np.arange(50)[::-1])
    assert compare([one, moved]).pairs == compare([one, two]).pairs
    monkeypatch.setattr(ModelPredictions, "_content_order", lambda self: np.arange(len(self.images)))
    with pytest.raises(InputError, match="different true labels"):
        compare([one, moved])


def test_leading_tie_lists_all_best_models() -> None:
    one, two = draw(np.random.default_rng(2), 50, 0.8)
    assert compare([one, two]).leading == ("two",)
    assert compare([replace(two, name="three"), one, two]).leading == ("three", "two")


def test_compare_different_images_labels_or_classes_raises() -> None:
    one, two = draw(np.random.default_rng(2), 50)
    fewer = two.select(np.arange(50) < 40)
    with pytest.raises(InputError, match="50 and 40 images, of which 40 have the same content") as raised:
        compare([one, fewer])
    assert raised.value.hint is not None
    assert "transfer-cli evaluate two FOLDER" in raised.value.hint
    changed = replace(two, images=(("000000.png", "another"), *two.images[1:]))
    with pytest.raises(InputError, match=r"1 have the same path but different content: 000000\.png"):
        compare([one, changed])
    with pytest.raises(InputError, match="different true labels"):
        compare([one, replace(two, truth=np.roll(two.truth, 1))])
    with pytest.raises(InputError, match="have different classes"):
        compare([one, replace(two, class_names=("a", "b", "d"))])
    with pytest.raises(InputError, match="two or more different runs"):
        compare([one, one])


def test_accuracy_drop_known_case() -> None:
    truth = np.repeat([0, 1], 50)
    before = np.eye(2, dtype=np.float32)[truth]
    after = before.copy()
    after[:10] = after[:10, ::-1]
    drop, low, high = accuracy_drop(truth, before, after)
    assert drop == pytest.approx(10)
    # Binomial distribution: 10 points with a standard deviation of 3.
    assert low == pytest.approx(10 - 1.96 * 3, abs=1.2)
    assert high == pytest.approx(10 + 1.96 * 3, abs=1.2)
    assert accuracy_drop(truth, after, before)[0] == pytest.approx(-10)
    assert accuracy_drop(truth, before, before) == (0.0, None, None)
    labels = np.eye(2, dtype=np.int64)[truth]
    assert accuracy_drop(labels, before, after)[0] == pytest.approx(10)
    assert accuracy_drop(labels, before, after, np.array([0.0, 0.0]))[0] == pytest.approx(0)
