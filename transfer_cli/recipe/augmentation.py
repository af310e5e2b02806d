"""Section of a recipe about augmentation: random variations of the training images."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from transfer_cli.recipe.sections import Choices

_MAX_VALUE = 2048
"""Shifts in pixels and factors are at most the largest image size."""
_OWN_SETTINGS = {"randaugment", "pca_colour", "random_erasing", "mixup", "cutmix"}
"""Settings that ImageDataGenerator does not have."""


class Augmentation(Choices):
    """The arguments of ImageDataGenerator with their meaning there, then further methods. By default all are off."""

    rotation_range: float = Field(
        default=0, ge=0, le=180, description="Maximum rotation in degrees, in either direction."
    )
    width_shift_range: int | float | tuple[float, ...] = Field(
        default=0.0,
        description="Maximum horizontal shift: a share of the width if below 1, otherwise pixels; or a list to choose "
        "from.",
    )
    height_shift_range: int | float | tuple[float, ...] = Field(
        default=0.0,
        description="Maximum vertical shift: a share of the height if below 1, otherwise pixels; or a list to choose "
        "from.",
    )
    shear_range: float = Field(
        default=0, ge=0, lt=90, description="Maximum shear angle in degrees, in either direction."
    )
    zoom_range: float | tuple[float, float] = Field(
        default=0.0, description="Zoom factor: z means 1 - z to 1 + z; or the two limits. Factors below 1 zoom in."
    )
    channel_shift_range: float = Field(
        default=0, ge=0, le=255, description="Maximum shift of all channels in grey levels, up or down."
    )
    brightness_range: tuple[float, float] | None = Field(
        default=None, description="Lower and upper limit of the brightness factor."
    )
    horizontal_flip: bool = Field(
        default=False,
        description="Flip images left-right with probability 0.5. Not for text, or if left and right matter.",
    )
    vertical_flip: bool = Field(default=False, description="Flip images upside down with probability 0.5.")
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = Field(
        default="nearest", description="How pixels outside the image are filled."
    )
    cval: float = Field(default=0, ge=0, le=255, description="Grey level for fill_mode constant.")
    randaugment: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Magnitude of RandAugment (two random Keras transforms; Cubuk et al. 2020). 0: off.",
    )
    pca_colour: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Standard deviation of the PCA colour shift; 0.1 in AlexNet (Krizhevsky et al. 2012).",
    )
    random_erasing: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Probability that a rectangle of the image is replaced by noise (Zhong et al. 2020).",
    )
    mixup: float = Field(
        default=0,
        ge=0,
        description="MixUp alpha: images and labels are blended with weights from Beta(alpha, alpha) (Zhang "
        "et al. 2018). 0: off.",
    )
    cutmix: float = Field(
        default=0,
        ge=0,
        description="CutMix alpha: a rectangle of another image is pasted and labels are mixed by area (Yun "
        "et al. 2019). With mixup, one of the two is drawn per batch.",
    )

    @field_validator("width_shift_range", "height_shift_range", mode="before")
    @classmethod
    def _shift_is_valid(cls, reach: Any) -> Any:
        if _is_number(reach) and reach >= 0:
            return reach
        return _numbers(reach, "expected a number of at least 0, or a list of numbers to choose from")

    @field_validator("zoom_range", mode="before")
    @classmethod
    def _zoom(cls, zoom: Any) -> Any:
        if _is_number(zoom) and 0 <= zoom < 1:
            return zoom
        return _numbers(
            zoom, "expected a number from 0 to 1, or two positive numbers, the lower first", count=2, above=0
        )

    @field_validator("brightness_range", mode="before")
    @classmethod
    def _brightness(cls, ends: Any) -> Any:
        return None if ends is None else _numbers(ends, "expected two positive numbers, the lower first", 2, above=0)

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
        return self.model_dump(exclude=_OWN_SETTINGS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_VALUE


def _numbers(value: Any, expected: str, count: int | None = None, above: float | None = None) -> tuple[float, ...]:
    """Return a TOML list as a tuple; with `count`, check the length, the order and the lower limit `above`."""
    good = isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_number, value))
    if good and count:
        good = len(value) == count and above is not None and above < value[0] <= value[-1]
    if not good:
        raise ValueError(f"{expected}. Received: {value!r}.")
    return tuple(value)
