"""Section of a recipe about augmentation: random variations of the training images."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from transfer_cli.recipe.sections import Choices, NonNegative

_MAX_VALUE = 2048
"""Shifts in pixels and factors are at most the largest image size."""
_OWN_SETTINGS = {
    *("random_crop", "random_resized_crop", "crop_ratio", "hue", "saturation"),
    *("randaugment", "pca_colour", "random_erasing", "mixup", "cutmix"),
}
"""Settings that ImageDataGenerator does not have."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_VALUE


def _shift(reach: Any) -> Any:
    if _is_number(reach) and reach >= 0:
        return reach
    if isinstance(reach, list | tuple) and reach and all(map(_is_number, reach)):
        return tuple(reach)
    raise ValueError(f"expected a number of at least 0, or a list of numbers to choose from. Received: {reach!r}.")


def _is_pair(ends: Any) -> bool:
    return isinstance(ends, list | tuple) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] <= ends[1]


def _limits(ends: Any, other: str = "") -> tuple[float, float]:
    """Return two limits from TOML; `other` is what else was expected, for the message."""
    if _is_pair(ends) and ends[0] > 0:
        return ends[0], ends[1]
    raise ValueError(f"expected {other}two positive numbers, the lower first. Received: {ends!r}.")


def _zoom(zoom: Any) -> Any:
    return zoom if _is_number(zoom) and 0 <= zoom < 1 else _limits(zoom, "a number from 0 to 1, or ")


def _margin(share: Any) -> Any:
    if _is_number(share) and 0 <= share < 1:
        return share
    raise ValueError(
        "expected the share of each side that is cut off, from 0 to below 1, such as 0.125 for 224 of 256 pixels. "
        f"Received: {share!r}."
    )


def _areas(ends: Any) -> tuple[float, float]:
    if _is_pair(ends) and ends[0] > 0 and ends[1] <= 1:
        return ends[0], ends[1]
    raise ValueError(
        "expected the smallest and the largest share of the image's area, above 0 and up to 1, such as [0.08, 1]. "
        f"Received: {ends!r}."
    )


def _ratios(ends: Any) -> tuple[float, float]:
    low, high = _limits(ends)
    if low <= 1 <= high:
        return low, high
    raise ValueError(f"expected a lower limit of at most 1 and an upper one of at least 1. Received: {ends!r}.")


def _saturation(reach: Any) -> Any:
    if _is_number(reach) and 0 <= reach <= 1:
        return reach
    if _is_pair(reach) and reach[0] >= 0:
        return tuple(reach)
    raise ValueError(
        f"expected a number from 0 to 1, or two numbers of at least 0, the lower first. Received: {reach!r}."
    )


Magnitude = Annotated[float, Field(ge=0, le=1)]
GreyLevel = Annotated[float, Field(ge=0, le=255)]
Shift = Annotated[int | float | tuple[float, ...], BeforeValidator(_shift)]
Zoom = Annotated[float | tuple[float, float], BeforeValidator(_zoom)]
Limits = Annotated[tuple[float, float], BeforeValidator(_limits)]
Margin = Annotated[float, BeforeValidator(_margin)]
Areas = Annotated[tuple[float, float], BeforeValidator(_areas)]
Ratios = Annotated[tuple[float, float], BeforeValidator(_ratios)]
Saturation = Annotated[float | tuple[float, float], BeforeValidator(_saturation)]


class Augmentation(Choices):
    """The arguments of ImageDataGenerator with their meaning there, then further methods. By default all are off."""

    rotation_range: float = Field(default=0, ge=0, le=180, description="Maximum rotation in degrees, either way.")
    width_shift_range: Shift = Field(
        default=0.0,
        description="Maximum horizontal shift: a share of the width if below 1, else pixels; or a list of choices.",
    )
    height_shift_range: Shift = Field(
        default=0.0,
        description="Maximum vertical shift: a share of the height if below 1, else pixels; or a list of choices.",
    )
    shear_range: float = Field(default=0, ge=0, lt=90, description="Maximum shear angle in degrees, either way.")
    zoom_range: Zoom = Field(
        default=0.0, description="Zoom factor: z means 1 - z to 1 + z; or the two limits. Factors below 1 zoom in."
    )
    channel_shift_range: GreyLevel = Field(
        default=0, description="Maximum shift of all channels in grey levels, up or down."
    )
    brightness_range: Limits | None = Field(default=None, description="Lower and upper limit of the brightness factor.")
    horizontal_flip: bool | Literal["auto"] = Field(
        default=False,
        description="Flip half of the images left-right. Not for text, or if left and right matter. auto: if "
        "cross-validation of a linear probe shows no loss by mirror images.",
    )
    vertical_flip: bool = Field(default=False, description="Flip half of the images upside down.")
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = Field(
        default="nearest", description="How pixels outside the image are filled."
    )
    cval: GreyLevel = Field(default=0, description="Grey level for fill_mode constant.")
    random_crop: Margin = Field(
        default=0.0,
        description="Share of each side that a random crop cuts off; the crop is enlarged to the network's size. 0.125 "
        "is the usual crop of 224 of 256 pixels. 0: off.",
    )
    random_resized_crop: Areas | None = Field(
        default=None,
        description="Smallest and largest share of the image's area that a random crop shows; the crop is stretched to "
        "the network's size (Szegedy et al. 2015: [0.08, 1]). Images are cropped at the network's size: small crops "
        "are blurred.",
    )
    crop_ratio: Ratios = Field(
        default=(0.75, 1.3333),
        description="random_resized_crop: smallest and largest ratio of the crop's width to its height.",
    )
    hue: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="Maximum shift of the hue (HSV), either way, as a share of the colour circle: 0.5 reaches all "
        "colours. Grey stays grey.",
    )
    saturation: Saturation = Field(
        default=0.0,
        description="Saturation factor (HSV): s means 1 - s to 1 + s; or the two limits. Factor 0 makes images grey.",
    )
    randaugment: Magnitude = Field(
        default=0, description="Magnitude of RandAugment (two random Keras transforms; Cubuk et al. 2020). 0: off."
    )
    pca_colour: Magnitude = Field(
        default=0, description="Standard deviation of the PCA colour shift; 0.1 in AlexNet (Krizhevsky et al. 2012)."
    )
    random_erasing: Magnitude = Field(
        default=0, description="Probability that a rectangle is replaced by noise (Zhong et al. 2020)."
    )
    mixup: NonNegative = Field(
        default=0, description="MixUp: images and labels are blended by Beta(mixup, mixup) (Zhang et al. 2018). 0: off."
    )
    cutmix: NonNegative = Field(
        default=0,
        description="CutMix alpha: a rectangle of another image is pasted and labels are mixed by area (Yun "
        "et al. 2019). With mixup, one of the two is drawn per batch.",
    )

    @model_validator(mode="after")
    def _crops_once(self) -> Self:
        if self.random_crop and self.random_resized_crop:
            raise ValueError("random_crop and random_resized_crop both crop the image; set one of them")
        if self.random_resized_crop is None and self.is_changed("crop_ratio"):
            raise ValueError("crop_ratio is a setting of random_resized_crop, which is not set")
        return self

    @property
    def is_off(self) -> bool:
        """Whether no augmentation is on."""
        return self == Augmentation(fill_mode=self.fill_mode, cval=self.cval)

    @property
    def mixes(self) -> bool:
        """Whether images and labels of two classes are mixed (MixUp, CutMix)."""
        return bool(self.mixup or self.cutmix)

    def generator_arguments(self) -> dict[str, Any]:
        """Return the arguments of an ImageDataGenerator."""
        return self.model_dump(exclude=_OWN_SETTINGS) | {"horizontal_flip": bool(self.horizontal_flip)}
