"""The section of a recipe that says how pictures are varied while a network learns from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from transfer_cli.recipe.sections import Choices

_LARGEST = 2048
"""No shift in pixels, and no factor, is beyond the largest picture."""
_BEYOND = {"randaugment", "pca_colour", "random_erasing", "mixup", "cutmix"}
"""Words of an augmentation that ImageDataGenerator does not know."""


class Augmentation(Choices):
    """ImageDataGenerator's words with its meanings, then what it does not know; the defaults do nothing."""

    rotation_range: float = Field(default=0, ge=0, le=180)
    """Degrees to either side."""
    width_shift_range: int | float | tuple[float, ...] = 0.0
    """Below 1 a share of the width, else pixels; a list to choose from."""
    height_shift_range: int | float | tuple[float, ...] = 0.0
    """The same for the height."""
    shear_range: float = Field(default=0, ge=0, lt=90)
    """Degrees to either side."""
    zoom_range: float | tuple[float, float] = 0.0
    """z for 1 - z to 1 + z, or the two ends; below 1 is nearer."""
    channel_shift_range: float = Field(default=0, ge=0, le=255)
    """Grey levels to either side, the same for all channels."""
    brightness_range: tuple[float, float] | None = None
    """Both ends of the factor."""
    horizontal_flip: bool = False
    """Mirror half of the pictures; not for text, or where left and right differ."""
    vertical_flip: bool = False
    """Turn half of the pictures upside down."""
    fill_mode: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    """What is seen beyond the edge of a picture."""
    cval: float = Field(default=0, ge=0, le=255)
    """The grey of fill_mode constant."""
    randaugment: float = Field(default=0, ge=0, le=1)
    """Strength of two transforms drawn from Keras's RandAugment (Cubuk et al. 2020); 0: none."""
    pca_colour: float = Field(default=0, ge=0, le=1)
    """Deviation of a shift along the main colours of ImageNet; AlexNet's was 0.1 (Krizhevsky et al. 2012)."""
    random_erasing: float = Field(default=0, ge=0, le=1)
    """Share of the pictures of which a rectangle is filled with noise (Zhong et al. 2020)."""
    mixup: float = Field(default=0, ge=0)
    """Alpha: pictures and truths are blended with others by a share from Beta(alpha, alpha) (Zhang et al. 2018)."""
    cutmix: float = Field(default=0, ge=0)
    """Alpha: a rectangle of another picture is laid in, the truth shared by area (Yun et al. 2019); or mixup's turn."""

    @field_validator("width_shift_range", "height_shift_range", mode="before")
    @classmethod
    def _reach(cls, reach: Any) -> Any:
        if _is_number(reach) and reach >= 0:
            return reach
        return _numbers(reach, "expected a number from 0, or a list of numbers to choose from")

    @field_validator("zoom_range", mode="before")
    @classmethod
    def _zoom(cls, zoom: Any) -> Any:
        if _is_number(zoom) and 0 <= zoom < 1:
            return zoom
        return _numbers(zoom, "expected a number from 0 to 1, or two above 0, the lower first", count=2, above=0)

    @field_validator("brightness_range", mode="before")
    @classmethod
    def _brightness(cls, ends: Any) -> Any:
        return None if ends is None else _numbers(ends, "expected two numbers above 0, the lower first", 2, above=0)

    @property
    def is_off(self) -> bool:
        """Whether every picture stays as it is."""
        still = Augmentation(fill_mode=self.fill_mode, cval=self.cval)
        return self == still

    @property
    def mixes(self) -> bool:
        """Whether a picture may become one of two classes."""
        return bool(self.mixup or self.cutmix)

    def words(self) -> dict[str, Any]:
        """Return the arguments of an ImageDataGenerator."""
        return self.model_dump(exclude=_BEYOND)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _numbers(value: Any, expected: str, count: int | None = None, above: float | None = None) -> tuple[float, ...]:
    """Return a list out of TOML as a tuple; `count` numbers have to be in order and above a bar."""
    good = isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_number, value))
    if good and count:
        good = len(value) == count and above is not None and above < value[0] <= value[-1]
    if not good:
        raise ValueError(f"{expected}. Received: {value!r}.")
    return tuple(value)
