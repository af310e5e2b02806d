"""Validate an untrusted ``.keras`` file: only the layers and functions of this program's networks are accepted.

Keras's safe mode refuses Lambda layers and other code in a file, but builds any layer or function of Keras that the
file names; some of them read files, load libraries or open sockets (CVE-2025-1550, -8747, -9905, -9906). Here only the
classes below are accepted. This module does not import Keras.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.hdf5_file import check_hdf5_arrays
from transfer_cli.io.untrusted.json_text import iter_objects, parse_json
from transfer_cli.io.untrusted.names import LABELS_FILE, METADATA_FILE
from transfer_cli.io.untrusted.zip_file import list_members

MOST_BYTES = 64_000_000
"""The longest configuration of a backbone has 1.0 MB."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_REQUIRED = {"metadata.json", CONFIG, WEIGHTS}
_OPTIONAL = {METADATA_FILE, LABELS_FILE}
"""Metadata of an exported file."""

_WEIGHTED = {"Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D"}
_POOLING = {"AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "MaxPooling2D"}
_NORMALIZING = {"BatchNormalization", "LayerNormalization", "Normalization", "Rescaling"}
_SHAPING = {"Cropping2D", "Flatten", "InputLayer", "Reshape", "ZeroPadding2D"}
_ELEMENTWISE = {"Activation", "Add", "Concatenate", "Dropout", "Multiply", "ReLU"}
LAYERS = frozenset(_WEIGHTED | _POOLING | _NORMALIZING | _SHAPING | _ELEMENTWISE)
"""Accepted classes of keras.layers: those of the backbones, textbook networks, heads and exports."""
OPERATIONS = {
    "core": ("Cast",),
    "image": ("RGBToGrayscale",),
    "numpy": ("Add", "GetItem", "Log", "Max", "Maximum", "Minimum", "Multiply", "Stack", "Subtract", "TrueDivide"),
}
"""Accepted functions of keras.ops by module: those of preprocessing, MobileNetV3 and ensembles."""
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
_VALUE_NAMES = frozenset({"__ellipsis__", "__keras_tensor__", "__tensor__"})
"""Placeholders of a value; they have no module."""


def check_keras_file(path: Path) -> None:
    """Raise ModelError if a ``.keras`` file holds anything but a network of the accepted classes and its weights."""
    present = {member.filename for member in list_members(path, is_expected=(_REQUIRED | _OPTIONAL).__contains__)}
    if missing := _REQUIRED - present:
        raise ModelError(f"{path} was refused: it lacks {', '.join(sorted(missing))}.")
    try:
        with ZipFile(path) as archive:
            check_network_config(archive.read(CONFIG))
            check_hdf5_arrays(io.BytesIO(archive.read(WEIGHTS)))
    except Exception as error:  # h5py raises many types for a damaged file
        raise ModelError(f"{path} was refused and not loaded: {error}.") from error


def check_network_config(data: bytes) -> None:
    """Raise ValueError if the configuration of a network names a class that is not accepted."""
    config = parse_json(data, most_bytes=MOST_BYTES)
    if not isinstance(config, dict) or config.get("class_name") != "Functional":
        raise ValueError("it does not describe a network")
    for each in iter_objects(config):
        if "class_name" in each:
            _check_class(each)
        if each.get("compile_config"):
            raise ValueError("it contains a training configuration, which files of this program never do")


def _check_class(each: dict[str, Any]) -> None:
    name, module, registered = each["class_name"], each.get("module"), each.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise ValueError("a class name is not text")
    if module is None and name in _VALUE_NAMES and registered is None:
        return
    if (module, name) not in _CLASSES or registered not in (None, name):
        raise ValueError(f"it uses {module}.{name}, which is not an accepted layer or function")
