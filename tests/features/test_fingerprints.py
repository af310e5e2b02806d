"""Fingerprints: hashes of mirror images, and the same ones from the cache as from the decoded images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import save_image
from transfer_cli.features import fingerprints
from transfer_cli.features.fingerprints import BITS, SIDE, Fingerprints, hashes, shrink


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)


def test_hashes_of_mirror_images_are_those_of_flipped_images() -> None:
    small = shrink(noise(5))
    plain, mirrored = hashes(small)
    again, back = hashes(np.ascontiguousarray(small[:, :, ::-1]))
    assert plain.shape == (5, BITS)
    assert np.array_equal(mirrored, again)
    assert np.array_equal(plain, back)
    assert (plain != mirrored).any(axis=1).all()


def test_fingerprints_in_batches_are_those_of_all() -> None:
    small, parts = shrink(noise(7)), Fingerprints(7)
    parts.add(small[:3])
    parts.add(small[:0])
    parts.add(small[3:])
    whole = Fingerprints.of_images(noise(7))
    assert len(parts) == 7
    assert np.array_equal(parts.small, whole.small)
    assert np.array_equal(parts.packed_hashes[0], whole.packed_hashes[0])
    assert parts.small.shape == (7, SIDE, SIDE)


def test_fingerprints_of_many_images_keep_hashes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_COMPARED", 4)
    prints = Fingerprints.of_images(noise(5))
    assert not prints.has_small
    assert prints.small.shape == (0, SIDE, SIDE)
    assert prints.packed_hashes[0].shape == (5, 8)


def test_fingerprints_of_files_leaves_out_broken_ones(tmp_path: Path) -> None:
    for name in ("a", "c"):
        save_image(tmp_path / f"{name}.png", (200, 40, 40), np.random.default_rng(0))
    (tmp_path / "b.png").write_bytes(b"not an image")
    prints, read = Fingerprints.of_files(["a.png", "b.png", "c.png"], tmp_path)
    assert (len(prints), read) == (2, (0, 2))


def test_fingerprints_of_files_use_the_bit_depth_that_was_chosen(tmp_path: Path) -> None:
    """Of images whose samples use 8 of 16 bits, nothing is seen at the full range."""
    samples = np.random.default_rng(0).integers(0, 2**8, (64, 64)).astype(np.uint16)
    Image.fromarray(samples).save(tmp_path / "deep.png")
    (dark,), (bright,) = (
        Fingerprints.of_files(["deep.png"], tmp_path, bit_depth=depth)[0].detailed for depth in (None, 8)
    )
    assert (dark, bright) == (False, True)
