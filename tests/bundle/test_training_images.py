from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.errors import ModelError


def digest(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def test_roles_of_training_validation_and_unseen_images(tmp_path: Path) -> None:
    images = TrainingImages.of(map(digest, (1, 2, 2, 3)), map(digest, (3, 4)))
    images.save(tmp_path / "training_images.npz")
    for each in (images, TrainingImages.load(tmp_path / "training_images.npz")):
        assert each.roles_of([digest(number) for number in (2, 3, 4, 5)]) == ("train", "train", "val", "unseen")
    with np.load(tmp_path / "training_images.npz") as arrays:
        assert {name: arrays[name].dtype.str for name in arrays} == {"train": "<u8", "val": "<u8"}
        numbers = sorted(int.from_bytes(hashlib.sha256(bytes([number])).digest()[:8], "big") for number in (1, 2, 3))
        assert arrays["train"].tolist() == numbers
    assert TrainingImages.of(()).roles_of([digest(1)]) == ("unseen",)


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": np.array([1], np.uint64)},
        {"train": np.array([2, 1], np.uint64), "val": np.array([], np.uint64)},
        {"train": np.array([1.0]), "val": np.array([], np.uint64)},
        {"train": np.array([{}], object), "val": np.array([], np.uint64)},
    ],
    ids=["val is missing", "not sorted", "wrong dtype", "pickle"],
)
def test_load_invalid_file_is_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "training_images.npz"
    np.savez(path, **arrays)
    with pytest.raises(ModelError, match=r"training_images\.npz"):
        TrainingImages.load(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"training_images\.npz could not be read"):
        TrainingImages.load(path)
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(ModelError, match="could not be read"):
        TrainingImages.load(tmp_path / "other.npy")
