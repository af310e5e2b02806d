"""Saliency maps of the confident mistakes, drawn over the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.decoding import aspect_ratio
from transfer_cli.data.image_batches import view_batches
from transfer_cli.progress import Progress
from transfer_cli.rendering.thumbnails import data_uri
from transfer_cli.runs.completed_run import FinishedRun

_IMAGES_WITHOUT_GRADIENT = 4
"""Without a gradient each map takes about a hundred predictions, so that only a few images are explained."""


def saliency_overlays(
    run: FinishedRun, paths: Sequence[str], columns: NDArray[np.int64], progress: Progress
) -> dict[str, str]:
    """Return images with their saliency map drawn over them, as data URIs by path.

    Images that cannot be read any more are left out; the result is empty if the run has no model.

    Parameters
    ----------
    run : FinishedRun
    paths : sequence of str
    columns : ndarray of shape (n,), int
        The class to explain, per image.
    progress : Progress
    """
    if not run.directory.model.is_dir() or not len(paths):
        return {}
    views = ModelBundle.open(run.directory.path).views
    read = view_batches(paths, views, root=run.root, batch_size=len(paths))
    batch = next(iter(read))
    if not batch.paths:
        return {}
    crops = len({view.resize for view in views}) > 1
    # Imports TensorFlow if the method needs a gradient.
    from transfer_cli.explain.explainable import Explainable, explain_images
    from transfer_cli.explain.overlay import overlay

    explainable = Explainable.open(str(run.directory.path), progress=progress)
    count = len(batch.paths) if explainable.method.needs_gradient else _IMAGES_WITHOUT_GRADIENT
    with progress.track(f"explaining mistakes by {explainable.method.name}", len(batch.paths[:count])) as advance:
        maps = explain_images(
            explainable,
            [images[:count] for images in batch.views],
            columns[list(batch.indices[:count])],
            aspect_ratios=[aspect_ratio(run.root / path) for path in batch.paths[:count]] if crops else None,
        )
        advance(len(maps))
    explained = zip(batch.paths, batch.images, maps, strict=False)
    return {path: data_uri(overlay(image, map_)) for path, image, map_ in explained}
