"""The power law of a learning curve: the error falls from b towards a as a + b * images ** -c."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_EXPONENTS = np.geomspace(0.1, 2.0, 40)


@dataclass(frozen=True)
class PowerLaws:
    """Fitted power laws, one per resample.

    Attributes
    ----------
    floor : ndarray of shape (m,), float64
        The error that any number of images leaves.
    scale, exponent : ndarray of shape (m,), float64
    """

    floor: Array
    scale: Array
    exponent: Array

    def errors(self, images: Array) -> Array:
        """Return the error of each law, shape (m, n), for n numbers of images."""
        return self.floor[:, None] + self.scale[:, None] * images ** -self.exponent[:, None]


def fit_power_laws(images: Array, errors: Array, noise: Array) -> PowerLaws:
    """Fit a power law to each row of errors, by weighted least squares with a floor and a scale of at least 0.

    The exponent is searched on a grid from 0.1 to 2, which contains those of learning curves of image classifiers.

    Parameters
    ----------
    images : ndarray of shape (n,), float64
        Numbers of training images.
    errors : ndarray of shape (m, n), float64
    noise : ndarray of shape (n,), float64
        Standard errors of the errors.

    References
    ----------
    C. Cortes et al. (1993), "Learning Curves: Asymptotic Values and Rate of Convergence"; J. Hestness et al. (2017),
    "Deep Learning Scaling is Predictable, Empirically".
    """
    weights = noise**-2 / np.sum(noise**-2)
    floor, scale, exponent, lowest = (np.full(len(errors), value) for value in (0.0, 0.0, 0.0, np.inf))
    mean = errors @ weights
    for power in _EXPONENTS:
        powers = images**-power
        centred = powers - powers @ weights
        slope = errors @ (weights * centred) / (weights @ centred**2)
        # Where the best fit has a negative parameter, the best one that has none has a 0 in its place.
        slope = np.where(slope < 0, 0.0, slope)
        start = mean - slope * (powers @ weights)
        slope = np.where(start < 0, errors @ (weights * powers) / (weights @ powers**2), slope)
        start = np.where(start < 0, 0.0, start)
        residual = (errors - start[:, None] - slope[:, None] * powers) ** 2 @ weights
        better = residual < lowest
        for kept, new in ((floor, start), (scale, slope), (exponent, power), (lowest, residual)):
            kept[better] = np.broadcast_to(new, better.shape)[better]
    return PowerLaws(floor, scale, exponent)
