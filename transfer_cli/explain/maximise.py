"""Images that excite channels of a network most, found by gradient ascent.

References
----------
C. Olah, A. Mordvintsev, L. Schubert, "Feature Visualization", Distill 2017, for the regularisers: an image is the
Fourier transform of what is optimised, scaled so that all frequencies learn alike, in decorrelated colours; and the
network sees it shifted, turned and scaled at random in each step, so that only patterns that survive this remain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from transfer_cli.explain.channels import Channels
from transfer_cli.progress import SILENT, Progress

STEPS = 128
_RATE = 0.05
_START = 0.01
_LEAK = 0.01
"""Slope for negative activations, so that a channel that is silent at the start has a gradient, too."""
_SHIFT = 1 / 16
"""Largest random shift, as a share of the side."""
_DEGREES = 8
_SCALES = (0.9, 1.1)
_NOISE_IMAGES = 16
# Principal colour directions of photographs: brightness, blue to yellow, green to magenta; scaled by how much
# photographs vary along each.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32) / 0.27


@dataclass(frozen=True)
class Maximised:
    """The images that excite channels most.

    Attributes
    ----------
    numbers : tuple of int
    images : ndarray of shape (n, size, size, 3), uint8
        One for each of the n channels.
    activations : ndarray of shape (n,), float32
        The mean activation of each channel for its image.
    noise : ndarray of shape (n,), float32
        The highest mean activation of each channel among random noise images.
    """

    numbers: tuple[int, ...]
    images: NDArray[np.uint8]
    activations: NDArray[np.float32]
    noise: NDArray[np.float32]

    def doubts(self, layer: str) -> list[str]:
        """Return a warning if no image was found that excites a channel more than noise does."""
        silent = [number for number in range(len(self.numbers)) if self.activations[number] <= self.noise[number]]
        if not silent:
            return []
        named = ", ".join(str(self.numbers[number]) for number in silent)
        return [f"channel {named} of {layer}: no image excites it more than random noise does; it may never be active"]


def maximise(
    network: keras.Model,
    channels: Channels,
    *,
    size: int,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Maximised:
    """Return for each channel the image that excites it most: that maximises its mean activation.

    Parameters
    ----------
    network : keras.Model
        From uint8 images of shape (n, size, size, 3).
    channels : Channels
    size : int
    steps : int
        Steps of gradient ascent.
    seed : int
    progress : Progress

    Returns
    -------
    Maximised
        On one machine the same for the same seed.
    """
    random = np.random.default_rng(seed)
    count = len(channels.numbers)
    spectrum = tf.Variable(_START * random.standard_normal((count, 3, size, size // 2 + 1, 2)), dtype=tf.float32)
    ascend = _step(network, channels, spectrum, size)
    moments = [tf.Variable(tf.zeros_like(spectrum)) for _ in range(2)]
    with progress.track(f"maximising channels of {channels.layer}", steps) as advance:
        for number in range(1, steps + 1):
            _adam(spectrum, ascend(_transforms(random, count, size)), moments, number)
            advance(1)
    images = np.rint(_image_of(spectrum, size).numpy()).astype(np.uint8)
    noise = random.integers(0, 256, (_NOISE_IMAGES, size, size, 3)).astype(np.uint8)
    respond = keras.Model(network.inputs[0], channels.operation.output)
    activations = np.diag(channels.mean_activations(respond(images, training=False)))
    highest = channels.mean_activations(respond(noise, training=False)).max(axis=0)
    return Maximised(channels.numbers, images, activations.astype(np.float32), highest.astype(np.float32))


def _step(network: keras.Model, channels: Channels, spectrum: Any, size: int) -> Callable[[NDArray[np.float32]], Any]:
    """Return the function from random transforms to the gradient of the mean activation of each channel."""
    # The gradient ends at whole numbers: the network is entered behind their conversion.
    entry = next(each for each in network.operations if str(each.output.dtype).startswith("float"))
    inner = keras.Model(entry.output, _before_rectifier(channels.operation))
    columns = tf.constant(list(channels.numbers))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, 8], tf.float32)])  # type: ignore[untyped-decorator]
    def gradient(transforms: Any) -> Any:
        with tf.GradientTape() as tape:
            seen = tf.raw_ops.ImageProjectiveTransformV3(
                images=_image_of(spectrum, size),
                transforms=transforms,
                output_shape=[size, size],
                interpolation="BILINEAR",
                fill_mode="REFLECT",
                fill_value=0.0,
            )
            activations = tf.gather(inner(seen, training=False), columns, axis=-1, batch_dims=0)
            # Each image has its own channel.
            own = tf.linalg.diag_part(tf.transpose(activations, [1, 2, 0, 3]))
            objective = tf.reduce_sum(tf.reduce_mean(tf.nn.leaky_relu(own, _LEAK), axis=[0, 1]))
        return tape.gradient(objective, spectrum)

    return gradient  # type: ignore[no-any-return]


def _before_rectifier(operation: Any) -> Any:
    """Return the input of a layer that only cuts off low and high activations, else its output.

    Behind a rectifier, positions that are cut off have no gradient; what excites one excites the other.
    """
    rectifiers = (keras.activations.relu, keras.activations.relu6)
    is_activation = isinstance(operation, keras.layers.Activation) and operation.activation in rectifiers
    is_rectifier = is_activation or isinstance(operation, keras.layers.ReLU)
    return operation.input if is_rectifier else operation.output


def _image_of(spectrum: Any, size: int) -> Any:
    """Return images from 0 to 255, of shape (n, size, size, 3), from their Fourier coefficients."""
    down, across = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    # All frequencies get the same energy as in photographs (1 / f).
    scale = np.asarray(size / np.maximum(np.hypot(down, across), 1 / size), np.complex64)
    waves = tf.signal.irfft2d(tf.complex(spectrum[..., 0], spectrum[..., 1]) * scale, [size, size])
    colours = tf.einsum("nchw,dc->nhwd", waves / 4, _COLOURS)
    return 255 * tf.sigmoid(colours)


def _transforms(random: np.random.Generator, count: int, size: int) -> NDArray[np.float32]:
    """Return a random shift, turn and scale for each image, as rows of a projective transform about the centre."""
    angles = np.deg2rad(random.uniform(-_DEGREES, _DEGREES, count))
    scales = random.uniform(*_SCALES, count)
    shifts = random.uniform(-_SHIFT, _SHIFT, (2, count)) * size
    cosine, sine, centre = np.cos(angles) * scales, np.sin(angles) * scales, (size - 1) / 2
    across = centre - cosine * centre + sine * centre + shifts[0]
    down = centre - sine * centre - cosine * centre + shifts[1]
    zero = np.zeros(count)
    return np.stack([cosine, -sine, across, sine, cosine, down, zero, zero], axis=1).astype(np.float32)


def _adam(variable: Any, gradient: Any, moments: list[Any], step: int) -> None:
    """Move a variable along its gradient (Kingma and Ba 2015), which is the same for weak and strong activations."""
    first, second = moments
    first.assign(0.9 * first + 0.1 * gradient)
    second.assign(0.999 * second + 0.001 * gradient**2)
    mean, scale = first / (1 - 0.9**step), tf.sqrt(second / (1 - 0.999**step))
    variable.assign_add(_RATE * mean / (scale + 1e-8))
