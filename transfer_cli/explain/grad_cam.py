"""Grad-CAM: the feature maps of a layer, weighted by the gradient of a class's logit.

References
----------
Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.catalog.explainers import ExplainerSpec, Maps
from transfer_cli.explain.class_logits import Logit
from transfer_cli.explain.feature_maps import find_feature_map, last_feature_map

_BATCH = 16


@dataclass(frozen=True)
class Gradients:
    """The output of a layer and the gradient of a class's logit with respect to it.

    Attributes
    ----------
    layer : str
    shape : tuple of int
        Height, width and channels of its output.
    compute : callable
        ``compute(images, columns)`` returns the output and the gradient, both of shape (n, height, width, channels).
    """

    layer: str
    shape: tuple[int, ...]
    compute: Callable[[Any, Any], tuple[Any, Any]]

    @classmethod
    def build(cls, network: Any, logit: Logit, layer: str | None = None) -> Gradients:
        """Return the gradients at one layer of a network.

        Parameters
        ----------
        network : keras.Model
            From uint8 images of shape (n, size, size, 3), with a flat graph.
        logit : callable
            From its outputs to the logit of one class per image (before the softmax, which mixes the classes).
        layer : str, optional
            The last feature map larger than 1 x 1 by default.

        Raises
        ------
        ModelError
            If the network has no such feature map.
        UnknownNameError
            If no layer of this name outputs a feature map.
        """
        operation = last_feature_map(network) if layer is None else find_feature_map(network, layer)
        both = keras.Model(network.inputs[0], [operation.output, network.output])

        def run(images: Any, columns: Any) -> Any:
            activations, outputs = both(images, training=False)
            # A GradientTape would record nothing in a frozen network; tf.gradients works in any graph.
            return activations, tf.gradients(logit(outputs, columns), activations)[0]

        size = network.input_shape[1]
        signature = [tf.TensorSpec([None, size, size, 3], tf.uint8), tf.TensorSpec([None], tf.int64)]
        compute = tf.function(run, input_signature=signature, autograph=False)
        return cls(str(operation.name), tuple(int(side) for side in operation.output.shape[1:]), compute)

    def maps(self, images: NDArray[np.uint8], columns: NDArray[np.int64], spec: ExplainerSpec) -> Maps:
        """Return the saliency maps of images for some classes.

        Parameters
        ----------
        images : ndarray of shape (n, size, size, 3), uint8
        columns : ndarray of shape (n, m), int
            The classes to explain, per image.
        spec : ExplainerSpec
            A method that needs a gradient.

        Returns
        -------
        ndarray of shape (n, m, h, w), float32
        """
        assert spec.combine is not None
        maps = np.empty((*columns.shape, *self.shape[:2]), np.float32)
        for start in range(0, len(images), _BATCH):
            rows = slice(start, start + _BATCH)
            for number in range(columns.shape[1]):
                activations, gradients = self.compute(images[rows], columns[rows, number].astype(np.int64))
                maps[rows, number] = spec.combine(activations.numpy(), gradients.numpy())
        return maps
