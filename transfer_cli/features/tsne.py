"""t-SNE: place images on a plane so that similar ones are close to each other.

References
----------
L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008.
P. G. Poličar, M. Stražar, B. Zupan, "openTSNE: A Modular Python Library for t-SNE Dimensionality Reduction and
Embedding", Journal of Statistical Software 109, 2024.
P. G. Poličar, M. Stražar, B. Zupan, "Embedding to reference t-SNE space addresses batch effects in single-cell
classification", Machine Learning 112, 2023: further points at the median of their neighbours.
D. Kobak, P. Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 10, 2019:
initialisation with principal components.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import InputError
from transfer_cli.features.nearest import nearest, unit_rows
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import counted

SAMPLE = 4000
"""With more images, t-SNE runs on a random sample of this size."""
_PERPLEXITY = 30.0
_COMPONENTS = 50
_EXAGGERATED_ITERATIONS = 250
_ITERATIONS = 500
_ITERATIONS_PER_REPORT = 50
_MIN_IMAGES = 4
_NEIGHBOURS = 5


def perplexity_of(images: int, chosen: float | None = None) -> float:
    """Return the perplexity for a number of images: the one chosen, else 30, or (n - 1) / 3 for fewer than 91 images.

    Raises
    ------
    InputError
        If the one chosen is too large for t-SNE: it must be at most (n - 1) / 3.
    """
    most = max((min(images, SAMPLE) - 1) / 3, 1.0)
    if chosen is not None and chosen > most:
        raise InputError(
            f"The perplexity {chosen:g} is too large for {counted(min(images, SAMPLE), 'image')}. "
            f"Expected at most {most:.4g}, a third of the images."
        )
    return min(_PERPLEXITY, most) if chosen is None else chosen


def layout(
    features: NDArray[np.float32], seed: int, progress: Progress = SILENT, perplexity: float | None = None
) -> NDArray[np.float32]:
    """Return the position of each image, float32 of shape (n, 2), by t-SNE of its features.

    The features are normalised to length 1, so that cosine similarity counts, and reduced to their first 50 principal
    components; the first two are the initial positions.
    With more than `SAMPLE` images, t-SNE runs on a random sample, and each other image is placed at the median position
    of its five nearest neighbours in the sample.

    Parameters
    ----------
    features : ndarray of shape (n, width), float32
    seed : int
        The same seed gives the same positions, on any number of CPU cores.
    progress : Progress
    perplexity : float, optional
        About the number of neighbours that each image is kept near (see `perplexity_of`).
    """
    perplexity = perplexity_of(len(features), perplexity)
    if len(features) <= SAMPLE:
        return _tsne(features, seed, progress, perplexity)
    progress.note(
        f"t-SNE of a random sample of {SAMPLE} of {len(features)} images; the others are placed next to their nearest "
        "neighbours"
    )
    sample = np.sort(np.random.default_rng(seed).choice(len(features), SAMPLE, replace=False))
    positions = np.empty((len(features), 2), np.float32)
    positions[sample] = in_sample = _tsne(features[sample], seed, progress, perplexity)
    others = np.setdiff1d(np.arange(len(features)), sample)
    neighbours, _ = nearest(features[sample], features[others], _NEIGHBOURS)
    positions[others] = np.median(in_sample[neighbours], axis=1)
    return positions


def _tsne(features: NDArray[np.float32], seed: int, progress: Progress, perplexity: float) -> NDArray[np.float32]:
    count = len(features)
    reduced = _principal_components(features, seed)
    start = reduced[:, :2]
    spread = start[:, 0].std() if count else 0.0
    if count < _MIN_IMAGES or not spread:
        return start.astype(np.float32)

    from openTSNE import TSNE

    total = _EXAGGERATED_ITERATIONS + _ITERATIONS
    with progress.track(f"t-SNE of {counted(count, 'image')}", total) as advance:
        tsne = TSNE(
            callbacks=lambda *state: advance(_ITERATIONS_PER_REPORT),  # returns None: go on
            callbacks_every_iters=_ITERATIONS_PER_REPORT,
            early_exaggeration_iter=_EXAGGERATED_ITERATIONS,
            perplexity=perplexity,
            n_iter=_ITERATIONS,
            initialization=start * (1e-4 / spread),
            metric="euclidean",
            neighbors="exact",
            negative_gradient_method="bh",
            # Its threads wait actively for each other: on a busy machine two are slower than one, sometimes ten times.
            n_jobs=1,
            random_state=seed,
        )
        return np.asarray(tsne.fit(reduced), np.float32)


def _principal_components(features: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return the coordinates along the first principal components; at least two, padded with zeros."""
    from sklearn.utils.extmath import randomized_svd

    unit = unit_rows(features.astype(np.float64))
    centred = unit - unit.mean(axis=0) if len(unit) else unit
    components = min(_COMPONENTS, *centred.shape)
    coordinates = np.zeros((len(unit), max(components, 2)))
    if components:
        left, sizes, _ = randomized_svd(centred, components, random_state=seed)
        coordinates[:, :components] = left * sizes
    # Rounding errors of equal images are set to zero.
    coordinates[np.abs(coordinates) < 1e-9] = 0
    return coordinates
