"""What is inside a network: the filters of its first convolution, and what a layer makes of a picture."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import backbones
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import ImageError, ModelError
from transfer_cli.explain.grad_cam import layer_with_map, network_of
from transfer_cli.models.layer_summary import leaves
from transfer_cli.rendering.png_provenance import EXPLAIN, save_signed

CHANNELS = 64
CELL = 64
GAP = 4
TEXT = 14


def draw_filters(source: str, target: Path) -> int:
    """Draw the filters of a model's first convolution as a grid; return how many there are.

    Grey is 0, and each filter has its own scale; its colours are those of the picture that it answers to.

    Parameters
    ----------
    source : str
        A run or a bundle.
    target : Path
        A PNG file.
    """
    bundle, directory = _of_one_network(source)
    kernels = first_filters(network_of(bundle, directory))
    if _is_bgr(bundle):
        kernels = kernels[:, :, ::-1]
    highest = np.abs(kernels).max(axis=(0, 1, 2)) + 1e-12
    cells = np.rint(127.5 * (1 + kernels / highest)).astype(np.uint8).transpose(3, 0, 1, 2)
    save_signed(grid(cells, range(len(cells))), target, EXPLAIN)
    return len(cells)


def first_filters(network: Any) -> NDArray[np.float32]:
    """Return the kernel of the first convolution, of shape (height, width, channels, filters)."""
    for layer in leaves(network):
        if isinstance(layer, keras.layers.Conv2D):
            return np.asarray(layer.kernel, np.float32)
    raise ModelError("The network has no convolution, and so no filters to draw.")


def draw_activations(source: str, layer: str, image: str, target: Path) -> int:
    """Draw what a layer makes of a picture: its maps, that with the highest value first, 64 at most; return how many.

    Black is 0 or less, white the highest value of the layer.

    Parameters
    ----------
    source : str
        A run or a bundle.
    layer : str
    image : str
        A file.
    target : Path
        A PNG file.

    Raises
    ------
    UnknownNameError
        When there is no layer of that name that gives maps.
    ImageError
        When the picture cannot be read.
    """
    bundle, directory = _of_one_network(source)
    network = network_of(bundle, directory)
    operation = layer_with_map(network, layer)
    batch = next(batches([image], size=bundle.image_size, resize=bundle.resize, batch_size=1))
    if batch.skipped:
        raise ImageError(f"{image} could not be read: {batch.skipped[0].reason}.")
    given = keras.Model(network.inputs[0], operation.output)(batch.images, training=False)
    maps = np.asarray(keras.ops.convert_to_numpy(given), np.float32)[0].transpose(2, 0, 1)
    order = np.argsort(-maps.max(axis=(1, 2)), kind="stable")[:CHANNELS]
    highest = max(float(maps.max()), 1e-12)
    cells = np.rint(255 * np.clip(maps[order] / highest, 0, 1)).astype(np.uint8)
    save_signed(grid(cells[..., None], order.tolist()), target, EXPLAIN)
    return len(cells)


def grid(cells: NDArray[np.uint8], numbers: Sequence[int]) -> Image.Image:
    """Return cells of shape (n, h, w, 1 or 3) side by side, `GAP` apart, each below its number."""
    columns = math.ceil(math.sqrt(len(cells)))
    scale = max(1, -(-CELL // max(cells.shape[1:3])))
    height, width = (side * scale for side in cells.shape[1:3])
    across, down = width + GAP, height + GAP + TEXT
    sheet = Image.new("RGB", (columns * across - GAP, -(-len(cells) // columns) * down), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (cell, number) in enumerate(zip(cells, numbers, strict=True)):
        left, top = place % columns * across, place // columns * down
        draw.text((left, top), str(number), "black", font_size=TEXT - 3)
        pixels = np.broadcast_to(cell, (*cell.shape[:2], 3)).repeat(scale, axis=0).repeat(scale, axis=1)
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top + TEXT))
    return sheet


def _of_one_network(source: str) -> tuple[ModelBundle, Path]:
    """Return a bundle and its directory; raise ModelError where it is an ensemble, which has several networks."""
    opened = ModelBundle.open(Path(source))
    if opened.members:
        raise ModelError(
            f"{source} is an ensemble of {len(opened.members)} models; what is inside is drawn of one network.",
            hint=f"Look into a member: {shlex.quote(str(opened.members[0].directory))}, say.",
        )
    return opened.bundle, opened.directory


def _is_bgr(bundle: ModelBundle) -> bool:
    """Return whether the backbone was made for pictures with blue first, as Caffe had them."""
    return backbones.find(str(bundle.backbone["name"])).scheme == "caffe"
