"""The table of pretrained backbones: sizes, costs, accuracies, licences and names of the weight files.

Parameters and multiply-adds are those of the whole network with its own classification layers at the row's size,
counted on the Keras graph (the tests count them again). ImageNet top-1 accuracy is that of the Keras documentation
(keras.io/api/applications), for MobileNetV3 of its docstring, for the narrow MobileNets of the papers (Howard et al.
2017, table 6; Sandler et al. 2018 and its published checkpoints). Licences are those of the published weights in the
repositories that the Keras documentation names as their origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_APACHE = "Apache-2.0"
_BSD = "BSD-3-Clause"
_CC_BY = "CC-BY-4.0"
MIT = "MIT"


@dataclass(frozen=True)
class WidthVariant:
    """One width of a backbone that comes in several."""

    parameters: int
    multiply_adds: int
    top1: float | None
    width: int


VARIANTS: Mapping[str, Mapping[float, WidthVariant]] = {
    "mobilenet": {
        0.25: WidthVariant(475_544, 41_030_272, 50.6, 256),
        0.5: WidthVariant(1_342_536, 149_497_088, 63.7, 512),
        0.75: WidthVariant(2_601_976, 325_400_448, 68.4, 768),
    },
    "mobilenet_v2": {
        0.35: WidthVariant(1_691_208, 59_285_808, 60.3, 1280),
        0.5: WidthVariant(1_987_224, 97_131_840, 65.4, 1280),
        0.75: WidthVariant(2_663_064, 209_069_792, 69.8, 1280),
        1.3: WidthVariant(5_431_048, 509_374_560, 74.4, 1664),
        1.4: WidthVariant(6_156_712, 582_195_824, 75.0, 1792),
    },
}
WEIGHT_SIZES: Mapping[str, tuple[int, ...]] = {
    "mobilenet": (128, 160, 192, 224),
    "mobilenet_v2": (96, 128, 160, 192, 224),
}
"""Input sizes with weights of their own."""

# fmt: off
COLUMNS = ("name", "factory", "scheme", "module", "size", "min_size", "width", "parameters", "multiply_adds", "top1", "licence", "stem", "folder")
ROWS = (
    ("convnext_base", "ConvNeXtBase", "inside", "convnext", 224, 32, 1024, 88_591_464, 15_354_729_472, 85.3, MIT, "convnext_base", "convnext"),
    ("convnext_large", "ConvNeXtLarge", "inside", "convnext", 224, 32, 1536, 197_767_336, 34_361_433_600, 86.3, MIT, "convnext_large", "convnext"),
    ("convnext_small", "ConvNeXtSmall", "inside", "convnext", 224, 32, 768, 50_223_688, 8_683_712_256, 82.3, MIT, "convnext_small", "convnext"),
    ("convnext_tiny", "ConvNeXtTiny", "inside", "convnext", 224, 32, 768, 28_589_128, 4_455_531_264, 81.3, MIT, "convnext_tiny", "convnext"),
    ("convnext_xlarge", "ConvNeXtXLarge", "inside", "convnext", 224, 32, 2048, 350_196_968, 60_921_030_656, 86.7, MIT, "convnext_xlarge", "convnext"),
    ("densenet121", "DenseNet121", "torch", "densenet", 224, 32, 1024, 8_062_504, 2_834_161_664, 75.0, _BSD, "densenet121_weights_tf_dim_ordering_tf_kernels", "densenet"),
    ("densenet169", "DenseNet169", "torch", "densenet", 224, 32, 1664, 14_307_880, 3_359_843_328, 76.2, _BSD, "densenet169_weights_tf_dim_ordering_tf_kernels", "densenet"),
    ("densenet201", "DenseNet201", "torch", "densenet", 224, 32, 1920, 20_242_984, 4_291_365_888, 77.3, _BSD, "densenet201_weights_tf_dim_ordering_tf_kernels", "densenet"),
    ("efficientnet_b0", "EfficientNetB0", "inside", "efficientnet", 224, 32, 1280, 5_330_571, 385_814_752, 77.1, _APACHE, "efficientnetb0", ""),
    ("efficientnet_b1", "EfficientNetB1", "inside", "efficientnet", 240, 32, 1280, 7_856_239, 686_802_832, 79.1, _APACHE, "efficientnetb1", ""),
    ("efficientnet_b2", "EfficientNetB2", "inside", "efficientnet", 260, 32, 1408, 9_177_569, 993_561_872, 80.1, _APACHE, "efficientnetb2", ""),
    ("efficientnet_b3", "EfficientNetB3", "inside", "efficientnet", 300, 32, 1536, 12_320_535, 1_827_141_392, 81.6, _APACHE, "efficientnetb3", ""),
    ("efficientnet_b4", "EfficientNetB4", "inside", "efficientnet", 380, 32, 1792, 19_466_823, 4_393_771_024, 82.9, _APACHE, "efficientnetb4", ""),
    ("efficientnet_b5", "EfficientNetB5", "inside", "efficientnet", 456, 32, 2048, 30_562_527, 10_266_384_752, 83.6, _APACHE, "efficientnetb5", ""),
    ("efficientnet_b6", "EfficientNetB6", "inside", "efficientnet", 528, 32, 2304, 43_265_143, 19_067_593_536, 84.0, _APACHE, "efficientnetb6", ""),
    ("efficientnet_b7", "EfficientNetB7", "inside", "efficientnet", 600, 32, 2560, 66_658_687, 37_745_884_192, 84.3, _APACHE, "efficientnetb7", ""),
    ("efficientnet_v2_b0", "EfficientNetV2B0", "inside", "efficientnet_v2", 224, 32, 1280, 7_200_312, 718_086_176, 78.7, _APACHE, "efficientnetv2-b0", "efficientnet_v2"),
    ("efficientnet_v2_b1", "EfficientNetV2B1", "inside", "efficientnet_v2", 240, 32, 1280, 8_212_124, 1_196_819_360, 79.8, _APACHE, "efficientnetv2-b1", "efficientnet_v2"),
    ("efficientnet_v2_b2", "EfficientNetV2B2", "inside", "efficientnet_v2", 260, 32, 1408, 10_178_374, 1_697_542_832, 80.5, _APACHE, "efficientnetv2-b2", "efficientnet_v2"),
    ("efficientnet_v2_b3", "EfficientNetV2B3", "inside", "efficientnet_v2", 300, 32, 1536, 14_467_622, 3_011_458_816, 82.0, _APACHE, "efficientnetv2-b3", "efficientnet_v2"),
    ("efficientnet_v2_l", "EfficientNetV2L", "inside", "efficientnet_v2", 480, 32, 1280, 119_027_848, 56_079_699_008, 85.7, _APACHE, "efficientnetv2-l", "efficientnet_v2"),
    ("efficientnet_v2_m", "EfficientNetV2M", "inside", "efficientnet_v2", 480, 32, 1280, 54_431_388, 24_582_460_384, 85.3, _APACHE, "efficientnetv2-m", "efficientnet_v2"),
    ("efficientnet_v2_s", "EfficientNetV2S", "inside", "efficientnet_v2", 384, 32, 1280, 21_612_360, 8_365_617_152, 83.9, _APACHE, "efficientnetv2-s", "efficientnet_v2"),
    ("inception_resnet_v2", "InceptionResNetV2", "tf", "inception_resnet_v2", 299, 75, 1536, 55_873_736, 13_155_794_016, 80.3, _APACHE, "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels", "inception_resnet_v2"),
    ("inception_v3", "InceptionV3", "tf", "inception_v3", 299, 75, 2048, 23_851_784, 5_713_216_096, 77.9, _APACHE, "inception_v3_weights_tf_dim_ordering_tf_kernels", "inception_v3"),
    ("mobilenet", "MobileNet", "tf", "mobilenet", 224, 32, 1024, 4_253_864, 568_740_352, 70.4, _APACHE, "mobilenet_{alpha}_{rows}_tf", "mobilenet"),
    ("mobilenet_v2", "MobileNetV2", "tf", "mobilenet_v2", 224, 32, 1280, 3_538_984, 300_774_272, 71.3, _APACHE, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{rows}", "mobilenet_v2"),
    ("mobilenet_v3_large", "MobileNetV3Large", "inside", "mobilenet_v3", 224, 32, 960, 5_507_432, 216_589_760, 75.6, _APACHE, "weights_mobilenet_v3_large_224_1.0_float", "mobilenet_v3"),
    ("mobilenet_v3_small", "MobileNetV3Small", "inside", "mobilenet_v3", 224, 32, 576, 2_554_968, 56_510_400, 68.1, _APACHE, "weights_mobilenet_v3_small_224_1.0_float", "mobilenet_v3"),
    ("nasnet_large", "NASNetLarge", "tf", "nasnet", 331, 32, 4032, 88_949_818, 23_783_414_658, 82.5, _APACHE, "nasnet_large", "nasnet"),
    ("nasnet_mobile", "NASNetMobile", "tf", "nasnet", 224, 32, 1056, 5_326_716, 563_638_816, 74.4, _APACHE, "nasnet_mobile", "nasnet"),
    ("resnet101", "ResNet101", "caffe", "resnet", 224, 32, 2048, 44_707_176, 7_570_194_432, 76.4, MIT, "resnet101_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("resnet101_v2", "ResNet101V2", "tf", "resnet_v2", 224, 32, 2048, 44_675_560, 7_194_476_544, 77.2, _BSD, "resnet101v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("resnet152", "ResNet152", "caffe", "resnet", 224, 32, 2048, 60_419_944, 11_282_415_616, 76.6, MIT, "resnet152_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("resnet152_v2", "ResNet152V2", "tf", "resnet_v2", 224, 32, 2048, 60_380_648, 10_906_697_728, 78.0, _BSD, "resnet152v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("resnet50", "ResNet50", "caffe", "resnet", 224, 32, 2048, 25_636_712, 3_857_973_248, 74.9, MIT, "resnet50_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("resnet50_v2", "ResNet50V2", "tf", "resnet_v2", 224, 32, 2048, 25_613_800, 3_482_255_360, 76.0, _BSD, "resnet50v2_weights_tf_dim_ordering_tf_kernels", "resnet"),
    ("vgg16", "VGG16", "caffe", "vgg16", 224, 32, 512, 138_357_544, 15_470_264_320, 71.3, _CC_BY, "vgg16_weights_tf_dim_ordering_tf_kernels", "vgg16"),
    ("vgg19", "VGG19", "caffe", "vgg19", 224, 32, 512, 143_667_240, 19_632_062_464, 71.3, _CC_BY, "vgg19_weights_tf_dim_ordering_tf_kernels", "vgg19"),
    ("xception", "Xception", "tf", "xception", 299, 71, 2048, 22_910_480, 8_357_403_496, 79.0, MIT, "xception_weights_tf_dim_ordering_tf_kernels", "xception"),
)
# fmt: on
