"""Methods that compute saliency maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.lookup import lookup

GRAD_CAM = "grad-cam"
OCCLUSION = "occlusion"

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class ExplainerSpec:
    """A saliency method.

    Attributes
    ----------
    name : str
    combine : callable or None
        ``combine(activations, gradients)`` returns maps of shape (n, h, w). The arguments have the shape
        (n, h, w, channels): a layer's output, and the gradient of the logit with respect to it. None for a method that
        runs the model on changed images instead.
    """

    name: str
    combine: Callable[[Any, Any], Maps] | None

    @property
    def needs_gradient(self) -> bool:
        """Whether it needs a model with gradients."""
        return self.combine is not None


def names() -> list[str]:
    """Return the names of all methods, the default first."""
    return list(EXPLAINERS)


def find(name: str) -> ExplainerSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(EXPLAINERS, "saliency method", name)


def _grad_cam(activations: Any, gradients: Any) -> Maps:
    weights = gradients.mean(axis=(1, 2))
    return np.asarray(np.maximum(np.einsum("nhwc,nc->nhw", activations, weights), 0), np.float32)


_ROWS = (
    # Feature maps of the last convolutional layer, weighted by the gradient of the class's logit (Selvaraju et al.
    # 2017).
    ExplainerSpec(GRAD_CAM, _grad_cam),
    # How much the probability of a class drops when a patch of the image is covered; slower, for every model (Zeiler
    # and Fergus 2014).
    ExplainerSpec(OCCLUSION, None),
)
EXPLAINERS = {row.name: row for row in _ROWS}
