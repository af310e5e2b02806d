"""Drawings of a network: the filters of its first convolutional layer, and the activation maps of layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transfer_cli.data.image_batches import view_batches
from transfer_cli.errors import ImageError, ModelError
from transfer_cli.explain.feature_maps import find_feature_map
from transfer_cli.explain.source_network import SourceNetwork
from transfer_cli.models.layer_summary import leaves
from transfer_cli.rendering.png_provenance import INSPECT, save_signed

MAX_CHANNELS = 64
_MIN_CELL = 64
_GAP = 4
_LINE = 14


def draw_filters(source: SourceNetwork, target: Path) -> int:
    """Draw the filters of the first convolutional layer as a grid (PNG) and return their number.

    Each filter is scaled separately; grey is 0. The colours are those of the image patch that activates it most.
    """
    kernels = first_filters(source.network)
    if source.scheme == "caffe":  # trained on images in BGR order
        kernels = kernels[:, :, ::-1]
    highest = np.abs(kernels).max(axis=(0, 1, 2)) + 1e-12
    cells = np.rint(127.5 * (1 + kernels / highest)).astype(np.uint8).transpose(3, 0, 1, 2)
    save_signed(draw_grid(cells, range(len(cells))), target, INSPECT)
    return len(cells)


def first_filters(network: keras.Model) -> NDArray[np.float32]:
    """Return the kernel of the first convolutional layer, of shape (height, width, channels, filters)."""
    for layer in leaves(network):
        if isinstance(layer, keras.layers.Conv2D):
            return np.asarray(layer.kernel, np.float32)
    raise ModelError("The network has no convolutional layer, and so no filters to draw.")


def draw_activations(source: SourceNetwork, image: str, targets: Mapping[str, Path]) -> dict[str, int]:
    """Draw the activation maps of layers for one image, each layer as a grid (PNG).

    A grid shows the up to `MAX_CHANNELS` channels with the highest activation, highest first. Black is 0 or less, white
    the highest activation of the layer.

    Parameters
    ----------
    source : SourceNetwork
    image : str
        Image file.
    targets : mapping of str to Path
        The PNG file to write, by layer name.

    Returns
    -------
    dict of str to int
        The number of channels drawn, by layer name.

    Raises
    ------
    UnknownNameError
        If a layer does not exist or does not output feature maps.
    ImageError
        If the image cannot be read.
    """
    outputs = {layer: find_feature_map(source.network, layer).output for layer in targets}
    batch = next(view_batches([image], [source.view], batch_size=1))
    if batch.skipped:
        raise ImageError(f"{image} could not be read: {batch.skipped[0].reason}.")
    activations = keras.Model(source.network.inputs[0], outputs)(batch.images, training=False)
    grids = {}
    for layer in targets:
        maps = np.asarray(keras.ops.convert_to_numpy(activations[layer]), np.float32)[0].transpose(2, 0, 1)
        order = np.argsort(-maps.max(axis=(1, 2)), kind="stable")[:MAX_CHANNELS]
        highest = max(float(maps.max()), 1e-12)
        cells = np.rint(255 * np.clip(maps[order] / highest, 0, 1)).astype(np.uint8)
        grids[layer] = draw_grid(cells[..., None], order.tolist()), len(cells)
    for layer, (grid, _) in grids.items():
        save_signed(grid, targets[layer], INSPECT)
    return {layer: count for layer, (_, count) in grids.items()}


def draw_grid(cells: NDArray[np.uint8], numbers: Sequence[int]) -> Image.Image:
    """Return cells of shape (n, h, w, 1 or 3) as a grid, each with its number above it."""
    columns = math.ceil(math.sqrt(len(cells)))
    scale = max(1, -(-_MIN_CELL // max(cells.shape[1:3])))
    height, width = (side * scale for side in cells.shape[1:3])
    x_step, y_step = width + _GAP, height + _GAP + _LINE
    sheet = Image.new("RGB", (columns * x_step - _GAP, -(-len(cells) // columns) * y_step), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (cell, number) in enumerate(zip(cells, numbers, strict=True)):
        left, top = index % columns * x_step, index // columns * y_step
        draw.text((left, top), str(number), "black", font_size=_LINE - 3)
        pixels = np.broadcast_to(cell, (*cell.shape[:2], 3)).repeat(scale, axis=0).repeat(scale, axis=1)
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top + _LINE))
    return sheet
