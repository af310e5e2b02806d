"""Ways to say why a model said what it said, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import UnknownNameError

GRAD_CAM = "grad-cam"
OCCLUSION = "occlusion"

Maps = NDArray[np.float32]


@dataclass(frozen=True)
class ExplainerSpec:
    """What the catalog knows of an explainer.

    Attributes
    ----------
    name : str
    summary : str
        What it does, in a few words.
    source : str
        Who described it.
    combine : callable or None
        ``combine(activations, gradients)`` makes maps of shape (n, h, w) of what a layer gives and the gradient of the
        logit by it, both of shape (n, h, w, channels). None where the model is asked about changed pictures instead.
    """

    name: str
    summary: str
    source: str
    combine: Callable[[Any, Any], Maps] | None

    @property
    def needs_gradient(self) -> bool:
        """Whether it looks into the network, and so takes no model without a gradient."""
        return self.combine is not None


def names() -> list[str]:
    """Return the names of all explainers, the default first."""
    return list(EXPLAINERS)


def find(name: str) -> ExplainerSpec:
    """Return the row called `name`; raise UnknownNameError where there is none."""
    if name not in EXPLAINERS:
        raise UnknownNameError.of("way to explain", name, EXPLAINERS, f"Expected one of {', '.join(EXPLAINERS)}.")
    return EXPLAINERS[name]


def _grad_cam(activations: Any, gradients: Any) -> Maps:
    weights = gradients.mean(axis=(1, 2))
    return np.asarray(np.maximum(np.einsum("nhwc,nc->nhw", activations, weights), 0), np.float32)


_ROWS = (
    ExplainerSpec(
        GRAD_CAM,
        "where the last maps of the network speak for a class: each weighted by the gradient of the class's logit",
        "Selvaraju et al. 2017",
        _grad_cam,
    ),
    ExplainerSpec(
        OCCLUSION,
        "how much less probable a class gets where a patch of the picture is covered; for every model, and slower",
        "Zeiler and Fergus 2014",
        None,
    ),
)
EXPLAINERS = {row.name: row for row in _ROWS}
