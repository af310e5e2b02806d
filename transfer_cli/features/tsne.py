"""Features laid out in a plane, so that pictures which are alike lie side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.features.nearest import nearest, unit_rows
from transfer_cli.progress import SILENT, Progress

SAMPLE = 4000
"""Of more pictures so many are laid out, and the others among them."""
_PERPLEXITY = 30.0
_DIMENSIONS = 50
_EPOCHS = 500
_FEWEST = 4
_FOLLOWED = 5


def layout(features: NDArray[np.float32], seed: int, progress: Progress = SILENT) -> NDArray[np.float32]:
    """Return a place in the plane for each picture: t-SNE of the directions of its features.

    The features are made equally long, so that cosines count, and brought to their first 50 principal components. The
    perplexity is 30, or a third of the others where there are fewer than 90. The first two components are where it
    begins. Beyond `SAMPLE` pictures a random part of so many is laid out, and each other picture is put amid the five
    of these that are nearest to it in feature space, at the median of their places.

    Parameters
    ----------
    features : ndarray of shape (n, width), float32
    seed : int
        The same seed gives the same places, on any number of processors.
    progress : Progress

    Returns
    -------
    ndarray of shape (n, 2), float32

    References
    ----------
    L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008.
    P. G. Poličar, M. Stražar, B. Zupan, "openTSNE: A Modular Python Library for t-SNE Dimensionality Reduction and
    Embedding", Journal of Statistical Software 109, 2024; places of further points by the median of their neighbours:
    "Embedding to reference t-SNE space addresses batch effects in single-cell classification", Machine Learning, 2023.
    D. Kobak, P. Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 10, 2019, for
    the beginning at the principal components.
    """
    if len(features) <= SAMPLE:
        return _tsne(features, seed)
    progress.note(
        f"{SAMPLE} of {len(features)} pictures are laid out, and the others beside those that are most like them"
    )
    chosen = np.sort(np.random.default_rng(seed).choice(len(features), SAMPLE, replace=False))
    places = _tsne(features[chosen], seed)
    others = np.setdiff1d(np.arange(len(features)), chosen)
    neighbours, _ = nearest(features[chosen], features[others], _FOLLOWED)
    whole = np.empty((len(features), 2), np.float32)
    whole[chosen] = places
    whole[others] = np.median(places[neighbours], axis=1)
    return whole


def _tsne(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    count = len(features)
    reduced = _principal(features, seed)
    start = reduced[:, :2]
    spread = start[:, 0].std() if count else 0.0
    if count < _FEWEST or not spread:
        return start.astype(np.float32)

    from openTSNE import TSNE

    tsne = TSNE(
        perplexity=min(_PERPLEXITY, (count - 1) / 3),
        n_iter=_EPOCHS,
        initialization=start * (1e-4 / spread),
        metric="euclidean",
        neighbors="exact",
        negative_gradient_method="bh",
        # Its threads wait for each other in a loop: beside another job two are slower than one, ten times at worst.
        n_jobs=1,
        random_state=seed,
    )
    return np.asarray(tsne.fit(reduced), np.float32)


def _principal(features: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return the coordinates along the first principal components, two or more; of few pictures some are zero."""
    from sklearn.utils.extmath import randomized_svd

    unit = unit_rows(features)
    centred = unit - unit.mean(axis=0) if len(unit) else unit
    kept = min(_DIMENSIONS, *centred.shape)
    coordinates = np.zeros((len(unit), max(kept, 2)))
    if kept:
        left, sizes, _ = randomized_svd(centred, kept, random_state=seed)
        coordinates[:, :kept] = left * sizes
    # What rounding leaves of equal pictures is no direction.
    coordinates[np.abs(coordinates) < 1e-9] = 0
    return coordinates
