"""What the networks of this program consist of: a ``.keras`` file that names anything else is not built.

Keras's safe mode refuses Lambda layers and other code in a file. Beyond that it builds whatever layer or function of
its own a file names, of which some read files, load libraries or open sockets (CVE-2025-1550, -8747, -9905, -9906).
Here a network consists of the layers below and of nothing else. Nothing here imports Keras.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.hdf5_file import must_hold_arrays
from transfer_cli.io.untrusted.json_text import objects, parsed
from transfer_cli.io.untrusted.names import FACTS, LABELS
from transfer_cli.io.untrusted.zip_file import members

MOST_BYTES = 64_000_000
"""The longest configuration of a backbone has 1.0 MB."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {"metadata.json", CONFIG, WEIGHTS}
_BESIDE = {FACTS, LABELS}
"""What an exported file says of itself."""

LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "Flatten",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "InputLayer",
        "LayerNormalization",
        "MaxPooling2D",
        "Multiply",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "ZeroPadding2D",
    }
)
"""Of keras.layers: those of the backbones, of the textbooks' networks, of the heads and of what is exported."""
OPERATIONS = {
    "core": ("Cast",),
    "image": ("RGBToGrayscale",),
    "numpy": ("Add", "GetItem", "Log", "Max", "Maximum", "Minimum", "Multiply", "Stack", "Subtract", "TrueDivide"),
}
"""Of keras.ops, by module: those of the preprocessing, of MobileNetV3 and of ensembles."""
INITIALIZERS = ("GlorotUniform", "HeNormal", "Ones", "VarianceScaling", "Zeros")
_CLASSES = {
    *(("keras.layers", name) for name in LAYERS),
    *((f"keras.src.ops.{module}", name) for module, names in OPERATIONS.items() for name in names),
    *(("keras.initializers", name) for name in INITIALIZERS),
    ("keras", "DTypePolicy"),
    ("keras", "Sequential"),
    ("keras.regularizers", "L2"),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
    ("keras.src.models.functional", "Functional"),
}
_VALUES = frozenset({"__ellipsis__", "__keras_tensor__", "__tensor__"})
"""What stands for a value, without a module."""


def must_be_known(path: Path) -> None:
    """Raise ModelError where a ``.keras`` file has more than a network of the classes above, and its weights."""
    found = {member.filename for member in members(path, may_be=(_MEMBERS | _BESIDE).__contains__)}
    if missing := _MEMBERS - found:
        raise ModelError(f"{path} was refused: it has no {', '.join(sorted(missing))}.")
    try:
        with ZipFile(path) as archive:
            must_have_known_classes(archive.read(CONFIG))
            must_hold_arrays(io.BytesIO(archive.read(WEIGHTS)))
    except Exception as error:  # h5py raises many kinds at a damaged file
        raise ModelError(f"{path} was refused, and nothing of it was run: {error}.") from error


def must_have_known_classes(data: bytes) -> None:
    """Raise ValueError where the configuration of a network names anything but the classes above."""
    config = parsed(data, most_bytes=MOST_BYTES)
    if not isinstance(config, dict) or config.get("class_name") != "Functional":
        raise ValueError("it describes no network")
    for each in objects(config):
        if "class_name" in each:
            _must_be_known(each)
        if each.get("compile_config"):
            raise ValueError("it says how to train, which no file of this program does")


def _must_be_known(each: dict[str, Any]) -> None:
    name, module, registered = each["class_name"], each.get("module"), each.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise ValueError("it names a class by something that is no name")
    if module is None and name in _VALUES and registered is None:
        return
    if (module, name) not in _CLASSES or registered not in (None, name):
        raise ValueError(f"it names {module}.{name}, which no network of this program has")
