"""Backbones: all of keras.applications, one with weights here, textbook networks, and features without learning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transfer_cli.catalog.backbone_table import COLUMNS, MIT, ROWS, VARIANTS, WEIGHT_SIZES, WidthVariant
from transfer_cli.catalog.planned_layer import PlannedLayer
from transfer_cli.catalog.weight_digests import DIGESTS
from transfer_cli.errors import ModelError, UnknownNameError, WeightsError
from transfer_cli.text import shell_command

_STORAGE = "https://storage.googleapis.com"
_NUMBERED = re.compile(r"([a-z]*[a-uw-z])(\d+)(v2|)")
"""Names of networks with a number of layers or a size; that after a v is a version."""
_LIST = "See all names: transfer-cli backbones list"

IMAGENET, EMBEDDED, RANDOM = "imagenet", "embedded", "none"
"""Names of weights; any other text is the path of a file or of an earlier run."""
IN_FILE = "file"
"""Name of the weights of a network that is a file: those in it."""
IN_RECIPE = "network"
"""Name of the network that a recipe describes in its section of this name."""
_FILE_SUFFIXES = (".keras", ".h5", ".hdf5", ".pb", ".tflite", ".onnx", ".pt", ".pth", ".safetensors", ".npz", ".json")
PREPROCESSING = {
    "inside": "the network scales images itself, for example by a Rescaling layer",
    "0-1": "divided by 255",
    "-1-1": "scaled to -1 .. 1 (the same as tf)",
    "tf": "scaled to -1 .. 1, as for MobileNet, Inception, Xception, NASNet",
    "torch": "0 .. 1, then minus ImageNet's mean, divided by its deviation, as for DenseNet",
    "caffe": "BGR minus ImageNet's mean, as for ResNet50 and VGG",
}
"""Schemes of ``--preprocess``: what a network in a file expects of pixels from 0 to 255."""
# Parameters of classification layers that are more than one dense layer.
# Classification layers by module, where they are not the usual two. Layers that Keras numbers have no lasting name.
_TOP_LAYERS = {
    "vgg": ("flatten", "fc1", "fc2", "predictions"),
    "efficientnet": ("avg_pool", "top_dropout", "predictions"),
    "efficientnet_v2": ("avg_pool", "top_dropout", "predictions"),
    "mobilenet": ("dropout", "conv_preds", "reshape_2", "predictions"),
    "mobilenet_v2": ("predictions",),
    # Its last layers share the name of the last layer of every head, and cannot be below it.
    "mobilenet_v3": ("conv_2",),
    "nasnet": ("predictions",),
}
_TOPS = {"VGG16": 123_642_856, "VGG19": 123_642_856, "MobileNetV3Large": 2_511_080, "MobileNetV3Small": 1_615_848}


RECOMMENDED: Mapping[str, str] = {
    "embedded": "no download, to try things out; least accurate",
    "mobilenet@0.25": "fastest with photographs",
    "mobilenet_v2": "the default: small, and accurate for its cost",
    "efficientnet_v2_b0": "more accurate, twice as slow",
    "convnext_tiny": "most accurate of these; for a GPU, or patience",
}
"""A few networks to choose from, and what for; most of the others suit special cases."""


@dataclass(frozen=True)
class WeightsFile:
    """A weight file: its name in Keras's cache, its URL, and its digest if one is known.

    The digest is hexadecimal: 32 digits for MD5, 64 for SHA-256.
    """

    name: str
    url: str
    digest: str | None = None

    @property
    def algorithm(self) -> str:
        """Hash algorithm of the digest."""
        return "sha256" if self.digest and len(self.digest) == 64 else "md5"


_CLASS_INDEX = "imagenet_class_index.json"
CLASS_INDEX = WeightsFile(
    _CLASS_INDEX, f"{_STORAGE}/download.tensorflow.org/data/{_CLASS_INDEX}", DIGESTS[_CLASS_INDEX]
)


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone.

    Attributes
    ----------
    name : str
        Keras's name in snake case, with ``@alpha`` for another width than the default.
    factory : str
        Function of keras.applications, of models.textbook for a network without pretrained weights, or of
        models.handcrafted.
    scheme : {"tf", "torch", "caffe", "inside", "unit", "grey"}
        Preprocessing of values from 0 to 255: ``tf`` to -1..1; ``torch`` to 0..1, then standardised by ImageNet's
        mean and deviation; ``caffe`` BGR minus ImageNet's mean; ``inside`` the network rescales by itself; ``unit`` to
        0..1; ``grey`` one channel, -1..1.
    module : str
        Module of keras.applications whose ``preprocess_input`` is the scheme; empty without pretrained weights.
    size : int
        Default side of the input in pixels.
    min_size : int
        Smallest possible side of the input.
    width : int
        Number of features after global pooling.
    parameters, multiply_adds : int
        Of the whole network with its classification layers, for one image.
    top1 : float or None
        ImageNet top-1 accuracy in percent.
    licence : str
        Licence of the weights.
    files : tuple of str
        Names of the weight files without and with the classification layers; ``{alpha}`` and ``{rows}`` stand for
        width and size. Empty if there are none.
    folder : str
        Folder of the files in Keras's storage.
    alphas : mapping of float to WidthVariant
        Further widths with published weights.
    weight_sizes : tuple of int
        Sizes with weights of their own; empty if one file serves all sizes.
    alpha : float
        Width multiplier.
    classes : int
        Number of classes of its own classification layer.
    embedded : str
        Name of the weight file in this package; empty if there is none.
    is_file : bool
        Whether it is no row of the catalog but the file `name`, whose `scheme` is one of `PREPROCESSING`; a `size` of 0
        means any.
    is_handcrafted : bool
        Whether its features are computed without learning: it has no weights, and nothing of it is ever trained.
    layers : tuple of PlannedLayer
        The layers of a network that a recipe describes; empty for all others.
    """

    name: str
    factory: str
    scheme: str
    size: int
    min_size: int
    width: int
    parameters: int
    multiply_adds: int
    module: str = ""
    top1: float | None = None
    licence: str = "-"
    files: tuple[str, ...] = ()
    folder: str = ""
    alphas: Mapping[float, WidthVariant] = field(default_factory=dict)
    weight_sizes: tuple[int, ...] = ()
    alpha: float = 1.0
    classes: int = 1000
    embedded: str = ""
    is_file: bool = False
    is_handcrafted: bool = False
    layers: tuple[PlannedLayer, ...] = ()

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers of a network that a recipe describes."""
        return tuple(layer.name for layer in self.layers)

    @property
    def has_imagenet(self) -> bool:
        """Whether it has ImageNet weights."""
        return bool(self.files)

    @property
    def is_pretrained(self) -> bool:
        """Whether it has any pretrained weights."""
        return self.has_imagenet or bool(self.embedded) or self.is_file

    @property
    def weights(self) -> str:
        """Name of its default weights."""
        if self.is_handcrafted:
            return RANDOM
        return IN_FILE if self.is_file else EMBEDDED if self.embedded else IMAGENET

    @property
    def megabytes(self) -> float:
        """Size of all parameters as float32, in MB (10^6 bytes)."""
        return self.parameters * 4 / 1e6

    @property
    def parameters_below_top(self) -> int:
        """Parameters of the network without its classification layers."""
        return self.parameters - _TOPS.get(self.factory, (self.width + 1) * self.classes)

    @property
    def top_layers(self) -> tuple[str, ...]:
        """Classification layers that can give features; only ``imagenet`` weights at `size` have them."""
        if self.module == "convnext":
            return tuple(f"{self.name}_head_{part}" for part in ("gap", "layernorm", "dense"))
        return _TOP_LAYERS.get(self.module.removesuffix("16").removesuffix("19"), ("avg_pool", "predictions"))

    def input_size(self, wanted: int | None) -> int:
        """Return the side of its input in pixels, for images of a wanted size or None.

        Raises
        ------
        ModelError
            If it is a file that takes another size, or any size and none is wanted.
        """
        if self.is_file and not (self.size or wanted):
            raise ModelError(
                f"{self.name} takes images of any size: (None, None, 3). Expected a size.",
                hint="Choose that of its training, for example: --set images.size=224",
            )
        if self.is_file and self.size and wanted not in (None, self.size):
            raise ModelError(
                f"{self.name} takes images of {self.size} x {self.size} pixels. Received: images.size = {wanted}.",
                hint="Leave out images.size, or build the network with keras.Input((None, None, 3)).",
            )
        return wanted or self.size

    def needs_top(self, layer: str | None, weights: str, size: int) -> bool:
        """Return whether features of `layer` need the weights with the classification layers, and there are some."""
        return layer in self.top_layers and self.has_imagenet and weights == IMAGENET and size == self.size

    def weights_file(self, *, top: bool, size: int) -> WeightsFile:
        """Return the file that Keras loads for ``weights="imagenet"`` at `size`; `top` is with classification layers.

        Raises
        ------
        WeightsError
            If it has no ImageNet weights.
        """
        if self.embedded:
            raise WeightsError(
                f"{self.name} has no ImageNet weights, only weights trained on synthetic images, without a "
                "classification layer. Expected --weights embedded, none, or a file.",
                hint=f"Omit --weights, or use a network that has ImageNet weights: {_LIST[0].lower()}{_LIST[1:]}",
            )
        if self.is_handcrafted:
            raise WeightsError(
                f"{self.name} has no weights: its features are computed without learning. Expected no --weights.",
                hint=f"Train a classifier on them: transfer-cli extract FOLDER --backbone {self.name}",
            )
        if not self.has_imagenet:
            raise WeightsError(
                f"{self.name} has no ImageNet weights: it has to be trained from scratch. "
                "Expected --weights none, or a file.",
                hint=f"Train it: transfer-cli finetune FOLDER --recipe {self.name.replace('_', '-')}\n"
                "or use random weights: --weights none",
            )
        rows = size if size in self.weight_sizes else 224
        name = self.files[top].format(alpha=_format_alpha(self.factory, self.alpha), rows=rows)
        is_nasnet = self.factory.startswith("NASNet")
        remote = name.replace("nasnet", "NASNet").replace("_", "-") if is_nasnet else name
        # The first EfficientNets are in another folder.
        folder = f"tensorflow/keras-applications/{self.folder}" if self.folder else "keras-applications"
        return WeightsFile(name, f"{_STORAGE}/{folder}/{remote}", DIGESTS.get(name))


def _same_family(name: str) -> str | None:
    """Return the backbone with the nearest number, such as ``resnet50`` for ``resnet18``; None if there is none.

    A digit too many counts as a slip of the hand: ``vgg16`` for ``vgg161``.
    """
    match = _NUMBERED.fullmatch(name.casefold().replace("_", ""))
    if match is None:
        return None
    found = {other: each for other in BACKBONES if (each := _NUMBERED.fullmatch(other.replace("_", "")))}
    family = [other for other, each in found.items() if (each[1], each[3]) == (match[1], match[3])]

    def distance(other: str) -> tuple[bool, int]:
        number = found[other][2]
        return not match[2].startswith(number), abs(int(number) - int(match[2]))

    return min(family, key=distance, default=None)


def find(name: str) -> BackboneSpec:
    """Return the backbone called `name`, e.g. ``resnet50`` or ``mobilenet@0.25``; a hyphen equals an underscore.

    Raises
    ------
    UnknownNameError
        If there is no such backbone or width.
    """
    base, at, width = name.partition("@")
    base = base.replace("-", "_")
    if base not in BACKBONES:
        near = _same_family(base)
        raise UnknownNameError.of("backbone", name, [near] if near else names(), _LIST)
    spec = BACKBONES[base]
    if not at:
        return spec
    alpha = 0.0
    with suppress(ValueError):
        alpha = float(width)
    if alpha == 1.0 and spec.alphas:
        return spec
    if alpha not in spec.alphas:
        known = ", ".join([base, *(f"{base}@{known:g}" for known in spec.alphas)])
        raise UnknownNameError(f"There is no backbone {name}. Expected {known}.", hint=_LIST)
    return replace(spec, name=f"{base}@{alpha:g}", alpha=alpha, **vars(spec.alphas[alpha]))


def row_of(name: str) -> BackboneSpec:
    """Return what `find` returns, or for the network that a recipe describes `DESCRIBED`."""
    return DESCRIBED if name == IN_RECIPE else find(name)


def is_network_file(name: str) -> bool:
    """Return whether `name` is the path of a file and not a name of the catalog."""
    base = name.partition("@")[0].replace("-", "_")
    if base in BACKBONES or name == IN_RECIPE:
        return False
    with suppress(OSError, ValueError):  # a name that is too long for a path
        if name and Path(name).exists():
            return True
    return "/" in name or "\\" in name or Path(name).suffix.lower() in _FILE_SUFFIXES


def not_exported_hint(path: Path) -> str:
    """Return what to type next about a file with the suffix of an export that transfer-cli did not write."""
    again = "Export the model again: transfer-cli export RUN"
    if path.suffix.lower() != ".keras":
        return again
    file = shell_command(str(path))
    return (
        f"{again}\nTo train on a Keras network of your own: transfer-cli extract FOLDER --backbone {file} --preprocess "
        f"SCHEME\nTo show its layers: transfer-cli backbones show {file}"
    )


def is_handcrafted(name: str) -> bool:
    """Return whether the backbone called `name` computes its features without learning."""
    spec = BACKBONES.get(name.replace("-", "_"))
    return spec is not None and spec.is_handcrafted


def names() -> list[str]:
    """Return every name that `find` accepts, including widths."""
    widths = (f"{name}@{alpha:g}" for name, spec in BACKBONES.items() for alpha in spec.alphas)
    return sorted([*BACKBONES, *widths])


def _format_alpha(factory: str, alpha: float) -> str:
    if factory == "MobileNet":
        return {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}[alpha]
    return str(alpha)


_NO_TOP = {"mobilenet": "_no_top", "mobilenet_v2": "_no_top", "mobilenet_v3": "_no_top_v2", "nasnet": "_no_top"}


def _pretrained(row: tuple[Any, ...]) -> BackboneSpec:
    values = dict(zip(COLUMNS, row, strict=True))
    name, stem = values["name"], values.pop("stem")
    return BackboneSpec(
        **values,
        files=(f"{stem}{_NO_TOP.get(values['module'], '_notop')}.h5", f"{stem}.h5"),
        alphas=VARIANTS.get(name, {}),
        weight_sizes=WEIGHT_SIZES.get(name, ()),
    )


# MobileNet 0.5 trained on synthetic images only (embedded_weights/, docs/embedded.md); costs as with 1000 classes.
_EMBEDDED = replace(
    BackboneSpec(EMBEDDED, "MobileNet", "tf", 96, 32, 512, 1_342_536, 27_876_608, "mobilenet", licence=MIT),
    alpha=0.5,
    embedded="mobilenet-0.5-formulas.npz",
)
_TEXTBOOK = (
    BackboneSpec("alexnet", "alexnet", "tf", 227, 67, 4096, 62_378_344, 1_135_256_096),
    BackboneSpec("lenet5", "lenet5", "grey", 32, 32, 84, 61_706, 416_520, classes=10),
    BackboneSpec("small_cnn", "small_cnn", "unit", 32, 32, 512, 1_250_858, 20_741_120, classes=10),
)

# Their numbers are those of fixed layers.
_HANDCRAFTED = (
    BackboneSpec("pixels", "pixels", "unit", 32, 28, 3072, 0, 0, classes=0, is_handcrafted=True),
    BackboneSpec("hog", "hog", "inside", 64, 28, 1764, 9_439, 1_013_960, classes=0, is_handcrafted=True),
)

BACKBONES: Mapping[str, BackboneSpec] = {
    spec.name: spec for spec in (*map(_pretrained, ROWS), _EMBEDDED, *_TEXTBOOK, *_HANDCRAFTED)
}
DESCRIBED = BackboneSpec(IN_RECIPE, "", "tf", 32, 1, 0, 0, 0, classes=0)
"""The network that a recipe describes, without its layers, sizes and costs (see `recipe.network`)."""
