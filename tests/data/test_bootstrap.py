"""Bootstrap samples of the training set, with all classes and whole groups."""

from __future__ import annotations

import numpy as np

from transfer_cli.data.bootstrap import bootstrap_sample


def test_bootstrap_sample_has_the_size_of_the_training_set() -> None:
    truth, group_ids = np.arange(200) % 4, np.arange(200)
    rows = bootstrap_sample(1, 0, truth, group_ids)
    assert len(rows) == 200
    assert 0.55 < len(np.unique(rows)) / 200 < 0.72  # 1 - 1/e are expected
    assert rows.tolist() == bootstrap_sample(1, 0, truth, group_ids).tolist()
    assert (
        rows.tolist()
        != bootstrap_sample(2, 0, truth, group_ids).tolist()
        != bootstrap_sample(2, 1, truth, group_ids).tolist()
    )


def test_bootstrap_sample_contains_every_class() -> None:
    # Nine of ten images belong to the first class: a plain sample would miss a rare class in every third bag.
    truth = np.repeat([0, 1, 2], [28, 1, 1])
    for number in range(1, 41):
        rows = bootstrap_sample(number, 0, truth, np.arange(30))
        assert set(truth[rows]) == {0, 1, 2}
        assert len(rows) == 30
    plain = [set(truth[np.random.default_rng(number).integers(0, 30, 30)]) for number in range(40)]
    assert any(classes != {0, 1, 2} for classes in plain)


def test_bootstrap_sample_contains_every_label() -> None:
    truth = np.zeros((30, 3), np.int64)
    truth[:28, 0], truth[28, 1], truth[29, 2] = 1, 1, 1
    assert all(truth[bootstrap_sample(number, 0, truth, np.arange(30))].any(axis=0).all() for number in range(1, 41))


def test_bootstrap_sample_keeps_groups_together() -> None:
    truth, group_ids = np.zeros(40, np.int64), np.repeat(np.arange(10), 4)
    for number in range(1, 11):
        counts = np.bincount(bootstrap_sample(number, 0, truth, group_ids), minlength=40).reshape(10, 4)
        assert (counts == counts[:, :1]).all()
    alone = np.bincount(bootstrap_sample(1, 0, truth, np.arange(40)), minlength=40).reshape(10, 4)
    assert (alone != alone[:, :1]).any()
