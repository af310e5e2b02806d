"""Section of a recipe: the normalisation of ImageDataGenerator, as layers of a network that is trained from scratch."""

from __future__ import annotations

from pydantic import Field

from transfer_cli.recipe.sections import Choices

SAMPLEWISE_STD = "samplewise_std_normalization"


class Normalization(Choices):
    """ImageDataGenerator's normalisation, as layers after the network's own scaling; only for random weights."""

    featurewise_center: bool = Field(
        default=False, description="Subtract the mean of each channel over the training images."
    )
    featurewise_std_normalization: bool = Field(
        default=False,
        description="Subtract it, and divide by the standard deviation of each channel over the training images.",
    )
    samplewise_center: bool = Field(
        default=False, description="Subtract from each image its own mean, before the above."
    )
    samplewise_std_normalization: bool = Field(
        default=False,
        description="Subtract it, and divide each image by its own standard deviation, before the above.",
    )

    @property
    def featurewise(self) -> str:
        """The setting that normalises by the training images; empty if none does. As in Keras, the second centres."""
        return self._last("featurewise_center", "featurewise_std_normalization")

    @property
    def samplewise(self) -> str:
        """The setting that normalises each image by itself; empty if none does."""
        return self._last("samplewise_center", SAMPLEWISE_STD)

    @property
    def words(self) -> list[str]:
        """The settings that are on."""
        return [name for name in type(self).model_fields if getattr(self, name)]

    def _last(self, *names: str) -> str:
        return next((name for name in reversed(names) if getattr(self, name)), "")
