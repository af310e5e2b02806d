"""Section of a recipe that describes a network of one's own, layer by layer, to train from random weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from transfer_cli.recipe.sections import Choices, Share

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "linear"]
Units = Annotated[int, Field(ge=1, le=65536)]


class Block(Choices):
    """Convolutions, each followed by batch normalisation and activation, then pooling and dropout."""

    filters: int = Field(ge=1, le=4096, description="Number of filters of each convolution.")
    kernel: int = Field(default=3, ge=1, le=31, description="Side of the filters in pixels.")
    stride: int = Field(default=1, ge=1, le=8, description="Stride of the first convolution.")
    padding: Literal["same", "valid"] = Field(
        default="same", description="same: zeros around the map keep its size; valid: no padding, the map shrinks."
    )
    activation: Activation | None = Field(default=None, description="Default: that of `[network]`.")
    batch_norm: bool = Field(
        default=False, description="Batch normalisation after each convolution (Ioffe and Szegedy 2015)."
    )
    convolutions: int = Field(default=1, ge=1, le=20, description="Convolutions in a row; a shortcut spans them.")
    residual: bool = Field(
        default=False,
        description="Shortcut that is added before the last activation (He et al. 2016); a convolution of 1 x 1 where "
        "the shapes differ.",
    )
    repeat: int = Field(
        default=1, ge=1, le=50, description="How many times the convolutions are repeated, without the stride."
    )
    pool: Literal["max", "avg"] | None = Field(
        default=None, description="Pooling at the end of the block: maximum or average. Default: none."
    )
    pool_size: int = Field(default=2, ge=2, le=32, description="Side and stride of the pooling window.")
    dropout: Share = Field(default=0.0, description="Dropout rate at the end of the block.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.residual and self.padding == "valid" and self.kernel > 1:
            raise ValueError("residual adds the input to the output, which needs padding = same. Received: valid.")
        if self.pool is None and self.is_changed("pool_size"):
            raise ValueError(f"pool_size = {self.pool_size} needs pool = max or avg.")
        return self


class Network(Choices):
    """A network of one's own, for random weights: blocks of convolutions, then dense layers, then the head.

    Without blocks it is a multilayer perceptron; without dense layers, too, the head sees the pixels. Images are
    scaled to -1 .. 1; `backbone.pooling` makes a vector of the last map (default: flatten; avg if there are blocks but
    no dense layers). Stages can unfreeze `from:block2`. `--set network.block.2.kernel=5` changes a block that the
    recipe has; it adds none.
    """

    activation: Activation = Field(default="relu", description="Activation of all blocks and dense layers.")
    block: tuple[Block, ...] = Field(default=(), max_length=100, strict=False, description="The blocks, see below.")
    dense: tuple[Units, ...] = Field(
        default=(), max_length=20, strict=False, description="Widths of the dense layers after the blocks."
    )
    dropout: Share = Field(default=0.0, description="Dropout rate after each dense layer.")

    @model_validator(mode="before")
    @classmethod
    def _is_a_section(cls, data: Any) -> Any:
        if isinstance(data, str):
            raise ValueError(
                f"expected a section that describes a network. Received: {data!r}. A network is named by backbone.name."
            )
        return data

    @model_validator(mode="after")
    def _dropout_has_a_layer(self) -> Self:
        if self.dropout and not self.dense:
            raise ValueError("network.dropout follows dense layers, and there are none. Did you mean block.N.dropout?")
        return self

    def default_pooling(self) -> str:
        """Return how the last feature map becomes a vector if the recipe does not say so."""
        return "avg" if self.block and not self.dense else "flatten"
