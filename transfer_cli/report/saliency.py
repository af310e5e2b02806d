"""What spoke for the surest mistakes: each picture under the map of an explainer, for a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.decoding import batches, ratio_of
from transfer_cli.explain.multi_view import views_of
from transfer_cli.progress import SILENT, Progress
from transfer_cli.rendering.html import data_uri
from transfer_cli.runs.completed_run import FinishedRun

_WITHOUT_A_GRADIENT = 4
"""Asking about a hundred changed copies of a picture takes its time: so many pictures are enough then."""


def overlays(
    run: FinishedRun, paths: Sequence[str], columns: NDArray[np.int64], progress: Progress = SILENT
) -> dict[str, str]:
    """Return some pictures under the map of what spoke for a class, as data URIs by their paths.

    Pictures that cannot be read any more are left out, as all are where the run kept no model.

    Parameters
    ----------
    run : FinishedRun
    paths : sequence of str
    columns : ndarray of shape (n,), int
        The class of each.
    progress : Progress
    """
    if not run.directory.model.is_dir() or not len(paths):
        return {}
    (size, resize), *others = views = views_of(ModelBundle.open(run.directory.path))
    read = batches(paths, root=run.root, size=size, resize=resize, others=others, batch_size=len(paths))
    batch = next(iter(read))
    if not batch.paths:
        return {}
    crops = len({view.resize for view in views}) > 1
    # TensorFlow, at the first gradient.
    from transfer_cli.explain.explain import Explainable, explain_images, overlay

    opened = Explainable(str(run.directory.path), progress=progress)
    count = len(batch.paths) if opened.method.needs_gradient else _WITHOUT_A_GRADIENT
    with progress.track(f"explaining mistakes by {opened.method.name}", len(batch.paths[:count])) as advance:
        maps = explain_images(
            opened,
            [images[:count] for images in batch.views],
            columns[list(batch.indices[:count])],
            ratios=[ratio_of(run.root / path) for path in batch.paths[:count]] if crops else None,
        )
        advance(len(maps))
    seen = zip(batch.paths, batch.images, maps, strict=False)
    return {path: data_uri(overlay(image, map_)) for path, image, map_ in seen}
