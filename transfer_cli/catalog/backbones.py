"""The backbones, one row each: all of keras.applications, one with weights in this package, and textbook networks.

Sizes, parameters and multiply-adds are those of the whole network with its own top at the row's size, counted on the
Keras graph (the tests count them again). ImageNet top-1 is what the Keras documentation's table of
available models says (keras.io/api/applications); for MobileNetV3 its own docstring; for the narrow MobileNets the
papers (Howard et al. 2017, table 6; Sandler et al. 2018 and its published checkpoints). Licences are those of the
published weights, by the repositories that the Keras documentation names as their origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from transfer_cli.catalog.weight_digests import DIGESTS
from transfer_cli.errors import UnknownNameError, WeightsError

_ORIGIN = "https://storage.googleapis.com/tensorflow/keras-applications/"
_LIST = "See all names: transfer-cli backbones list"

IMAGENET, EMBEDDED, RANDOM = "imagenet", "embedded", "none"
"""The words for weights; anything else is the path of a file."""
# Tops of more than one dense layer on the feature.
_TOPS = {"VGG16": 123_642_856, "VGG19": 123_642_856, "MobileNetV3Large": 2_511_080, "MobileNetV3Small": 1_615_848}


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights: its name in Keras's cache, where Keras downloads it from, and its digest where one is known.

    The digest is hexadecimal: 32 digits of MD5 or 64 of SHA-256.
    """

    name: str
    url: str
    digest: str | None = None

    @property
    def algorithm(self) -> str:
        """What the digest is made by."""
        return "sha256" if self.digest and len(self.digest) == 64 else "md5"


_CLASS_INDEX = "imagenet_class_index.json"
CLASS_INDEX = WeightsFile(
    _CLASS_INDEX,
    f"https://storage.googleapis.com/download.tensorflow.org/data/{_CLASS_INDEX}",
    DIGESTS[_CLASS_INDEX],
)


@dataclass(frozen=True)
class Alpha:
    """One width of a backbone that comes in several."""

    parameters: int
    multiply_adds: int
    top1: float | None
    width: int


@dataclass(frozen=True)
class BackboneSpec:
    """What the catalog knows of a backbone.

    Attributes
    ----------
    name : str
        Keras's name in snake case, with ``@alpha`` where the width is not the usual one.
    factory : str
        The function of keras.applications, or of catalog/textbook where it is not pretrained.
    scheme : {"tf", "torch", "caffe", "inside", "unit", "grey"}
        How 0 to 255 becomes the network's range: ``tf`` -1 to 1; ``torch`` 0 to 1, then ImageNet's mean and
        deviation; ``caffe`` BGR less ImageNet's mean; ``inside`` the network rescales by itself; ``unit`` 0 to 1;
        ``grey`` one channel, -1 to 1.
    module : str
        The module of keras.applications whose ``preprocess_input`` is the scheme; empty where it is not pretrained.
    size : int
        Side of the input in pixels.
    minimum : int
        The smallest side it can be built for.
    width : int
        Length of the feature after global pooling.
    parameters, multiply_adds : int
        Of the whole network with its top, for one image.
    top1 : float or None
        ImageNet accuracy in percent.
    licence : str
        Of the weights.
    files : tuple of str
        Names of the weights without and with the top, with ``{alpha}`` and ``{rows}`` where they vary; empty where
        there are none.
    folder : str
        Where below Keras's storage they are.
    alphas : mapping of float to Alpha
        The widths that have published weights; empty where there is one only.
    rows : tuple of int
        The sizes that have weights of their own; empty where one file serves all.
    alpha : float
        The width multiplier of this spec.
    classes : int
        Of its own top.
    embedded : str
        The file of weights that comes with this package, below its folder `embedded`; empty where there is none.
    """

    name: str
    factory: str
    scheme: str
    module: str
    size: int
    minimum: int
    width: int
    parameters: int
    multiply_adds: int
    top1: float | None
    licence: str
    files: tuple[str, ...]
    folder: str
    alphas: Mapping[float, Alpha] = field(default_factory=dict)
    rows: tuple[int, ...] = ()
    alpha: float = 1.0
    classes: int = 1000
    embedded: str = ""

    @property
    def has_imagenet(self) -> bool:
        """Whether there are ImageNet weights for it."""
        return bool(self.files)

    @property
    def is_pretrained(self) -> bool:
        """Whether there are weights for it that have learnt from something."""
        return self.has_imagenet or bool(self.embedded)

    @property
    def weights(self) -> str:
        """The word for the weights that it begins with unless others are asked for."""
        return EMBEDDED if self.embedded else IMAGENET

    @property
    def megabytes(self) -> float:
        """Size of all parameters as float32, in MB of 10^6 bytes."""
        return self.parameters * 4 / 1e6

    @property
    def parameters_below_top(self) -> int:
        """Parameters of the network without its top, as they are in the file without it."""
        return self.parameters - _TOPS.get(self.factory, (self.width + 1) * self.classes)

    def weights_file(self, *, top: bool, size: int) -> WeightsFile:
        """Return the file that Keras wants for ``weights="imagenet"`` at `size`.

        Raises
        ------
        WeightsError
            When there is none, since it is a network to be trained from scratch.
        """
        if self.embedded:
            raise WeightsError(
                f"{self.name} has no ImageNet weights: those that come with this program have seen no photograph, and "
                "have no top. Expected the weights embedded, none, or a file.",
                hint=f"Leave --weights out, or take a network that has them: {_LIST[0].lower()}{_LIST[1:]}",
            )
        if not self.has_imagenet:
            raise WeightsError(
                f"{self.name} has no ImageNet weights: it is a network to be trained from scratch. "
                "Expected the weights none, or a file.",
                hint=f"Train it: transfer-cli finetune FOLDER --recipe {self.name.replace('_', '-')}\n"
                "or take it as it is drawn at random: --weights none",
            )
        rows = size if size in self.rows else 224
        name = self.files[top].format(alpha=_spelt(self.factory, self.alpha), rows=rows)
        remote = name
        if self.factory.startswith("NASNet"):
            remote = name.replace("nasnet", "NASNet").replace("_", "-")
        if self.folder == "":  # the first EfficientNets lie elsewhere
            return WeightsFile(name, f"https://storage.googleapis.com/keras-applications/{remote}", DIGESTS.get(name))
        return WeightsFile(name, f"{_ORIGIN}{self.folder}/{remote}", DIGESTS.get(name))


def find(name: str) -> BackboneSpec:
    """Return the row called `name`, for example ``resnet50`` or ``mobilenet@0.25``; a hyphen is as good as a _.

    Raises
    ------
    UnknownNameError
        When there is no such row, or the row does not come in that width.
    """
    base, at, width = name.partition("@")
    base = base.replace("-", "_")
    if base not in BACKBONES:
        raise UnknownNameError.of("backbone", name, names(), _LIST)
    spec = BACKBONES[base]
    if not at:
        return spec
    try:
        alpha = float(width)
    except ValueError:
        alpha = 0.0
    if alpha == 1.0 and spec.alphas:
        return spec
    if alpha not in spec.alphas:
        known = ", ".join([base, *(f"{base}@{known:g}" for known in spec.alphas)])
        raise UnknownNameError(f"There is no backbone {name}. Expected {known}.", hint=_LIST)
    row = spec.alphas[alpha]
    return replace(
        spec,
        name=f"{base}@{alpha:g}",
        alpha=alpha,
        parameters=row.parameters,
        multiply_adds=row.multiply_adds,
        top1=row.top1,
        width=row.width,
    )


def names() -> list[str]:
    """Return every name that `find` takes, widths included."""
    widths = (f"{name}@{alpha:g}" for name, spec in BACKBONES.items() for alpha in spec.alphas)
    return sorted([*BACKBONES, *widths])


def _spelt(factory: str, alpha: float) -> str:
    if factory == "MobileNet":
        return {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}[alpha]
    return str(alpha)


_APACHE = "Apache-2.0"
_BSD = "BSD-3-Clause"
_MIT = "MIT"
_CC_BY = "CC-BY-4.0"

_MOBILENET = {
    0.25: Alpha(475_544, 41_030_272, 50.6, 256),
    0.5: Alpha(1_342_536, 149_497_088, 63.7, 512),
    0.75: Alpha(2_601_976, 325_400_448, 68.4, 768),
}
_MOBILENET_V2 = {
    0.35: Alpha(1_691_208, 59_285_808, 60.3, 1280),
    0.5: Alpha(1_987_224, 97_131_840, 65.4, 1280),
    0.75: Alpha(2_663_064, 209_069_792, 69.8, 1280),
    1.3: Alpha(5_431_048, 509_374_560, 74.4, 1664),
    1.4: Alpha(6_156_712, 582_195_824, 75.0, 1792),
}

_NO_TOP = {"mobilenet": "_no_top", "mobilenet_v2": "_no_top", "mobilenet_v3": "_no_top_v2", "nasnet": "_no_top"}
_SEVERAL: dict[str, tuple[dict[float, Alpha], tuple[int, ...]]] = {
    "mobilenet": (_MOBILENET, (128, 160, 192, 224)),
    "mobilenet_v2": (_MOBILENET_V2, (96, 128, 160, 192, 224)),
}


def _row(
    name: str,
    factory: str,
    scheme: str,
    module: str,
    size: int,
    minimum: int,
    width: int,
    parameters: int,
    multiply_adds: int,
    top1: float,
    licence: str,
    stem: str,
    folder: str,
) -> BackboneSpec:
    alphas, rows = _SEVERAL.get(name, ({}, ()))
    return BackboneSpec(
        name=name,
        factory=factory,
        scheme=scheme,
        module=module,
        size=size,
        minimum=minimum,
        width=width,
        parameters=parameters,
        multiply_adds=multiply_adds,
        top1=top1,
        licence=licence,
        files=(f"{stem}{_NO_TOP.get(module, '_notop')}.h5", f"{stem}.h5"),
        folder=folder,
        alphas=alphas,
        rows=rows,
    )


def _textbook(
    name: str, scheme: str, size: int, minimum: int, width: int, parameters: int, multiply_adds: int, classes: int
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        factory=name,
        scheme=scheme,
        module="",
        size=size,
        minimum=minimum,
        width=width,
        parameters=parameters,
        multiply_adds=multiply_adds,
        top1=None,
        licence="-",
        files=(),
        folder="",
        classes=classes,
    )


# MobileNet 0.5, learnt from formula-made pictures alone (embedded_weights/, docs/embedded.md); counted as with a top of 1000.
_EMBEDDED = BackboneSpec(
    name=EMBEDDED,
    factory="MobileNet",
    scheme="tf",
    module="mobilenet",
    size=96,
    minimum=32,
    width=512,
    parameters=1_342_536,
    multiply_adds=27_876_608,
    top1=None,
    licence=_MIT,
    files=(),
    folder="",
    alpha=0.5,
    embedded="mobilenet-0.5-formulas.npz",
)

# fmt: off
BACKBONES: Mapping[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        _row("convnext_base", "ConvNeXtBase", "inside", "convnext", 224, 32, 1024, 88_591_464, 15_354_729_472, 85.3, _MIT, "convnext_base", "convnext"),
        _row("convnext_large", "ConvNeXtLarge", "inside", "convnext", 224, 32, 1536, 197_767_336, 34_361_433_600, 86.3, _MIT, "convnext_large", "convnext"),
        _row("convnext_small", "ConvNeXtSmall", "inside", "convnext", 224, 32, 768, 50_223_688, 8_683_712_256, 82.3, _MIT, "convnext_small", "convnext"),
        _row("convnext_tiny", "ConvNeXtTiny", "inside", "convnext", 224, 32, 768, 28_589_128, 4_455_531_264, 81.3, _MIT, "convnext_tiny", "convnext"),
        _row("convnext_xlarge", "ConvNeXtXLarge", "inside", "convnext", 224, 32, 2048, 350_196_968, 60_921_030_656, 86.7, _MIT, "convnext_xlarge", "convnext"),
        _row("densenet121", "DenseNet121", "torch", "densenet", 224, 32, 1024, 8_062_504, 2_834_161_664, 75.0, _BSD, "densenet121_weights_tf_dim_ordering_tf_kernels", "densenet"),
        _row("densenet169", "DenseNet169", "torch", "densenet", 224, 32, 1664, 14_307_880, 3_359_843_328, 76.2, _BSD, "densenet169_weights_tf_dim_ordering_tf_kernels", "densenet"),
        _row("densenet201", "DenseNet201", "torch", "densenet", 224, 32, 1920, 20_242_984, 4_291_365_888, 77.3, _BSD, "densenet201_weights_tf_dim_ordering_tf_kernels", "densenet"),
        _row("efficientnet_b0", "EfficientNetB0", "inside", "efficientnet", 224, 32, 1280, 5_330_571, 385_814_752, 77.1, _APACHE, "efficientnetb0", ""),
        _row("efficientnet_b1", "EfficientNetB1", "inside", "efficientnet", 240, 32, 1280, 7_856_239, 686_802_832, 79.1, _APACHE, "efficientnetb1", ""),
        _row("efficientnet_b2", "EfficientNetB2", "inside", "efficientnet", 260, 32, 1408, 9_177_569, 993_561_872, 80.1, _APACHE, "efficientnetb2", ""),
        _row("efficientnet_b3", "EfficientNetB3", "inside", "efficientnet", 300, 32, 1536, 12_320_535, 1_827_141_392, 81.6, _APACHE, "efficientnetb3", ""),
        _row("efficientnet_b4", "EfficientNetB4", "inside", "efficientnet", 380, 32, 1792, 19_466_823, 4_393_771_024, 82.9, _APACHE, "efficientnetb4", ""),
        _row("efficientnet_b5", "EfficientNetB5", "inside", "efficientnet", 456, 32, 2048, 30_562_527, 10_266_384_752, 83.6, _APACHE, "efficientnetb5", ""),
        _row("efficientnet_b6", "EfficientNetB6", "inside", "efficientnet", 528, 32, 2304, 43_265_143, 19_067_593_536, 84.0, _APACHE, "efficientnetb6", ""),
        _row("efficientnet_b7", "EfficientNetB7", "inside", "efficientnet", 600, 32, 2560, 66_658_687, 37_745_884_192, 84.3, _APACHE, "efficientnetb7", ""),
        _row("efficientnet_v2_b0", "EfficientNetV2B0", "inside", "efficientnet_v2", 224, 32, 1280, 7_200_312, 718_086_176, 78.7, _APACHE, "efficientnetv2-b0", "efficientnet_v2"),
        _row("efficientnet_v2_b1", "EfficientNetV2B1", "inside", "efficientnet_v2", 240, 32, 1280, 8_212_124, 1_196_819_360, 79.8, _APACHE, "efficientnetv2-b1", "efficientnet_v2"),
        _row("efficientnet_v2_b2", "EfficientNetV2B2", "inside", "efficientnet_v2", 260, 32, 1408, 10_178_374, 1_697_542_832, 80.5, _APACHE, "efficientnetv2-b2", "efficientnet_v2"),
        _row("efficientnet_v2_b3", "EfficientNetV2B3", "inside", "efficientnet_v2", 300, 32, 1536, 14_467_622, 3_011_458_816, 82.0, _APACHE, "efficientnetv2-b3", "efficientnet_v2"),
        _row("efficientnet_v2_l", "EfficientNetV2L", "inside", "efficientnet_v2", 480, 32, 1280, 119_027_848, 56_079_699_008, 85.7, _APACHE, "efficientnetv2-l", "efficientnet_v2"),
        _row("efficientnet_v2_m", "EfficientNetV2M", "inside", "efficientnet_v2", 480, 32, 1280, 54_431_388, 24_582_460_384, 85.3, _APACHE, "efficientnetv2-m", "efficientnet_v2"),
        _row("efficientnet_v2_s", "EfficientNetV2S", "inside", "efficientnet_v2", 384, 32, 1280, 21_612_360, 8_365_617_152, 83.9, _APACHE, "efficientnetv2-s", "efficientnet_v2"),
        _row("inception_resnet_v2", "InceptionResNetV2", "tf", "inception_resnet_v2", 299, 75, 1536, 55_873_736, 13_155_794_016, 80.3, _APACHE, "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels", "inception_resnet_v2"),
        _row("inception_v3", "InceptionV3", "tf", "inception_v3", 299, 75, 2048, 23_851_784, 5_713_216_096, 77.9, _APACHE, "inception_v3_weights_tf_dim_ordering_tf_kernels", "inception_v3"),
        _row("mobilenet", "MobileNet", "tf", "mobilenet", 224, 32, 1024, 4_253_864, 568_740_352, 70.4, _APACHE, "mobilenet_{alpha}_{rows}_tf", "mobilenet"),
        _row("mobilenet_v2", "MobileNetV2", "tf", "mobilenet_v2", 224, 32, 1280, 3_538_984, 300_774_272, 71.3, _APACHE, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{rows}", "mobilenet_v2"),
        _row("mobilenet_v3_large", "MobileNetV3Large", "inside", "mobilenet_v3", 224, 32, 960, 5_507_432, 216_589_760, 75.6, _APACHE, "weights_mobilenet_v3_large_224_1.0_float", "mobilenet_v3"),
        _row("mobilenet_v3_small", "MobileNetV3Small", "inside", "mobilenet_v3", 224, 32, 576, 2_554_968, 56_510_400, 68.1, _APACHE, "weights_mobilenet_v3_small_224_1.0_float", "mobilenet_v3"),
        _row("nasnet_large", "NASNetLarge", "tf", "nasnet", 331, 32, 4032, 88_949_818, 23_783_414_658, 82.5, _APACHE, "nasnet_large", "nasnet"),
        _row("nasnet_mobile", "NASNetMobile", "tf", "nasnet", 224, 32, 1056, 5_326_716, 563_638_816, 74.4, _APACHE, "nasnet_mobile", "nasnet"),
        _row("resnet101", "ResNet101", "caffe", "resnet", 224, 32, 2048, 44_707_176, 7_570_194_432, 76.4, _MIT, "resnet101_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("resnet101_v2", "ResNet101V2", "tf", "resnet_v2", 224, 32, 2048, 44_675_560, 7_194_476_544, 77.2, _BSD, "resnet101v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("resnet152", "ResNet152", "caffe", "resnet", 224, 32, 2048, 60_419_944, 11_282_415_616, 76.6, _MIT, "resnet152_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("resnet152_v2", "ResNet152V2", "tf", "resnet_v2", 224, 32, 2048, 60_380_648, 10_906_697_728, 78.0, _BSD, "resnet152v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("resnet50", "ResNet50", "caffe", "resnet", 224, 32, 2048, 25_636_712, 3_857_973_248, 74.9, _MIT, "resnet50_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("resnet50_v2", "ResNet50V2", "tf", "resnet_v2", 224, 32, 2048, 25_613_800, 3_482_255_360, 76.0, _BSD, "resnet50v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
        _row("vgg16", "VGG16", "caffe", "vgg16", 224, 32, 512, 138_357_544, 15_470_264_320, 71.3, _CC_BY, "vgg16_weights_tf_dim_ordering_tf_kernels", "vgg16"),
        _row("vgg19", "VGG19", "caffe", "vgg19", 224, 32, 512, 143_667_240, 19_632_062_464, 71.3, _CC_BY, "vgg19_weights_tf_dim_ordering_tf_kernels", "vgg19"),
        _row("xception", "Xception", "tf", "xception", 299, 71, 2048, 22_910_480, 8_357_403_496, 79.0, _MIT, "xception_weights_tf_dim_ordering_tf_kernels", "xception"),
        _EMBEDDED,
        _textbook("alexnet", "tf", 227, 67, 4096, 62_378_344, 1_135_256_096, 1000),
        _textbook("lenet5", "grey", 32, 32, 84, 61_706, 416_520, 10),
        _textbook("small_cnn", "unit", 32, 32, 512, 1_250_858, 20_741_120, 10),
    )
}
# fmt: on
