"""Files of weights that are whole as far as can be told: HDF5 with the numbers of the network."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from transfer_cli.models.weights.registry import cache_folder, weight_uses

TINY = "mobilenet_2_5_224_tf_no_top.h5"
NARROW = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
RESNET = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"


def save_weights(path: Path, numbers: int | None = None, value: float = 1.0) -> Path:
    """Write an HDF5 file of so many numbers; as many as its network has where they are not given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = weight_uses()[path.name][1].numbers if numbers is None else numbers
    with h5py.File(path, "w") as file:
        file["layer/kernel"] = np.full(count, value, np.float32)
    return path


def in_cache(*names: str) -> None:
    """Put whole files of weights into Keras's cache."""
    for name in names:
        save_weights(cache_folder() / name)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder; folders have a name that ends with a slash."""
    return {
        f"{path.relative_to(folder)}{'/' * path.is_dir()}": b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }
