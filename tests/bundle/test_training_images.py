from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.errors import ModelError


def digest(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def test_what_say_pictures_had(tmp_path: Path) -> None:
    learnt = TrainingImages.of(map(digest, (1, 2, 2, 3)), map(digest, (3, 4)))
    learnt.save(tmp_path / "learnt.npz")
    for each in (learnt, TrainingImages.load(tmp_path / "learnt.npz")):
        assert each.say([digest(number) for number in (2, 3, 4, 5)]) == ("yes", "yes", "chosen", "no")
    with np.load(tmp_path / "learnt.npz") as arrays:
        assert {name: arrays[name].dtype.str for name in arrays} == {"train": "<u8", "val": "<u8"}
        numbers = sorted(int.from_bytes(hashlib.sha256(bytes([number])).digest()[:8], "big") for number in (1, 2, 3))
        assert arrays["train"].tolist() == numbers
    assert TrainingImages.of(()).say([digest(1)]) == ("no",)


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": np.array([1], np.uint64)},
        {"train": np.array([2, 1], np.uint64), "val": np.array([], np.uint64)},
        {"train": np.array([1.0]), "val": np.array([], np.uint64)},
        {"train": np.array([{}], object), "val": np.array([], np.uint64)},
    ],
)
def test_something_else_is_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "learnt.npz"
    np.savez(path, **arrays)
    with pytest.raises(ModelError, match=r"learnt\.npz"):
        TrainingImages.load(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"learnt\.npz could not be read"):
        TrainingImages.load(path)
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(ModelError, match="could not be read"):
        TrainingImages.load(tmp_path / "other.npy")
