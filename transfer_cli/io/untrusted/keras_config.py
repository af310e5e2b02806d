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
from transfer_cli.io.untrusted.names import CONFIG, LABELS_FILE, METADATA, METADATA_FILE, MOST_BYTES, WEIGHTS
from transfer_cli.io.untrusted.zip_file import list_members

_REQUIRED = {METADATA, CONFIG, WEIGHTS}
_OPTIONAL = {METADATA_FILE, LABELS_FILE}
"""Metadata of an exported file."""

_WEIGHTED = {"Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D"}
_POOLING = {"AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "MaxPooling2D"}
_NORMALIZING = {"BatchNormalization", "LayerNormalization", "Normalization", "Rescaling"}
_SHAPING = {"Cropping2D", "Flatten", "InputLayer", "Reshape", "ZeroPadding2D"}
_ELEMENTWISE = {"Activation", "Add", "Concatenate", "Dropout", "Multiply", "ReLU"}
_OF_OWN = {"Average", "ELU", "Identity", "LeakyReLU", "Maximum", "Minimum", "PReLU", "Softmax", "Subtract"}
LAYERS = frozenset(_WEIGHTED | _POOLING | _NORMALIZING | _SHAPING | _ELEMENTWISE | _OF_OWN)
"""Accepted classes of keras.layers: those of the backbones, textbook networks, heads, exports and own networks."""
AUGMENTING = frozenset(
    {
        *("AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration"),
        *("RandomColorJitter", "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip"),
        *("RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective"),
        *("RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
        *("RandomTranslation", "RandomZoom"),
        *("AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    }
)
"""Random layers of keras.layers that leave images unchanged in predictions."""
OPERATIONS = {
    "core": ("Cast",),
    "image": ("RGBToGrayscale",),
    "numpy": (
        "Absolute",
        "Add",
        "GetItem",
        "Log",
        "Max",
        "Maximum",
        "Minimum",
        "Multiply",
        "Sqrt",
        "Stack",
        "Subtract",
        "TrueDivide",
    ),
}
"""Accepted functions of keras.ops by module: those of preprocessing, pooling, MobileNetV3 and ensembles."""
INITIALIZERS = (
    *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Ones"),
    *("Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros"),
)
_CLASSES = {
    *(("keras.layers", name) for name in LAYERS),
    *((f"keras.src.ops.{module}", name) for module, names in OPERATIONS.items() for name in names),
    *(("keras.initializers", name) for name in INITIALIZERS),
    ("keras", "DTypePolicy"),
    ("keras", "Sequential"),
    *(("keras.regularizers", name) for name in ("L1", "L1L2", "L2")),
    *(("keras.constraints", name) for name in ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
    ("keras.src.models.functional", "Functional"),
}
_OWN = {
    *(("keras.layers", name) for name in (*AUGMENTING, "Conv2DTranspose", "UpSampling2D")),
    ("keras.src.ops.numpy", "Mean"),
}
"""Further classes in a network of the user's own, which are not part of a model of this program."""
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


def check_own_classes(config: Any) -> None:
    """Check the configuration of a network that the user made, and which may be nested.

    Raises
    ------
    ModelError
        If it uses a class that is not accepted; the message begins with "its" and says what to do.
    """
    if not isinstance(config, dict) or config.get("class_name") not in ("Functional", "Sequential"):
        kind = config.get("class_name") if isinstance(config, dict) else None
        raise ModelError(
            f"its class {str(kind)[:80]!r} is custom code, which is never run. Expected a network made by "
            "keras.Sequential or by the functional API.",
            hint="Build it from the layers of Keras: keras.Model(inputs, outputs).save('network.keras')",
        )
    for each in iter_objects(config):
        name = each.get("class_name")
        if "class_name" not in each or (
            (each.get("module"), name) in _OWN and each.get("registered_name") in (None, name)
        ):
            continue
        try:
            _check_class(each)
        except ValueError:
            inside = each.get("config")
            raise _refused(str(name)[:80], each, inside if isinstance(inside, dict) else {}) from None


def _refused(kind: str, each: dict[str, Any], config: dict[str, Any]) -> ModelError:
    """Return why a class of a network of the user's own is not accepted."""
    module, registered = str(each.get("module")), each.get("registered_name")
    layer = f"its layer {config['name']} ({kind})" if "name" in config else f"its {kind}"
    if kind == "function":
        layer = f"its function {str(each.get('config'))[:80]}"
    without = "Build the network without it, copy the weights of the other layers, and save it again."
    if kind == "Lambda":
        return ModelError(
            f"{layer} holds Python code, which is never run.",
            hint="Replace it by layers of Keras (Rescaling for x / 255), or leave it out and choose --preprocess.",
        )
    if kind in ("Resizing", "CenterCrop", "RandomCrop"):
        return ModelError(f"{layer} changes the size of the images, which transfer-cli does itself.", hint=without)
    if not module.startswith("keras") or ">" in str(registered):
        return ModelError(
            f"{layer} is custom code ({str(registered or module)[:80]}), which is never run.", hint=without
        )
    return ModelError(
        f"{layer} is not supported. Expected layers such as Conv2D, BatchNormalization, MaxPooling2D and Dense.",
        hint=without,
    )


def _check_class(each: dict[str, Any]) -> None:
    name, module, registered = each["class_name"], each.get("module"), each.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise ValueError("a class name is not text")
    if module is None and name in _VALUE_NAMES and registered is None:
        return
    if (module, name) not in _CLASSES or registered not in (None, name):
        raise ValueError(f"it uses {module}.{name}, which is not an accepted layer or function")
