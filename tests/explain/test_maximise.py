"""The found image fits a planted filter, excites its channel more than noise or photographs, and is reproducible."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.explain.example_models import noise
from transfer_cli.errors import UnknownNameError
from transfer_cli.explain.channels import Channels
from transfer_cli.explain.maximise import Maximised, maximise

SIZE = 32
PERIOD = 8


def grating(down: int, across: int) -> NDArray[np.float32]:
    """Return a grey wave of one period over the kernel."""
    y, x = np.meshgrid(np.arange(PERIOD), np.arange(PERIOD), indexing="ij")
    wave = np.cos(2 * np.pi * (down * y + across * x) / PERIOD)
    return np.repeat(wave[..., None], 3, axis=-1).astype(np.float32) / 50


def planted_network(activation: str = "relu") -> keras.Model:
    """Return a network whose channels respond to waves down, across and along the diagonal; the last one is dead."""
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    pixels = keras.ops.cast(images, "float32") / 127.5 - 1
    convolution = keras.layers.Conv2D(4, PERIOD, padding="valid", name="conv")
    maps = keras.layers.Activation(activation, name="active")(convolution(pixels))
    kernels = [grating(1, 0), grating(0, 1), grating(1, 1), np.zeros((PERIOD, PERIOD, 3), np.float32)]
    convolution.set_weights([np.stack(kernels, axis=-1), np.array([0, 0, 0, -1], np.float32)])
    return keras.Model(images, maps)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return planted_network()


@pytest.fixture(scope="module")
def found(network: keras.Model) -> Maximised:
    return maximise(network, Channels.find(network, "active"), size=SIZE, steps=48)


def fit(image: NDArray[np.uint8], kernel: NDArray[np.float32]) -> float:
    """Return the highest cosine between the kernel and a patch of the image, both without their means."""
    patches = np.lib.stride_tricks.sliding_window_view(image.astype(float), kernel.shape)[:, :, 0]
    patches = patches.reshape(-1, kernel.size)
    patches -= patches.mean(axis=1, keepdims=True)
    row = (kernel - kernel.mean()).ravel()
    return float((patches @ row / (np.linalg.norm(patches, axis=1) * np.linalg.norm(row) + 1e-9)).max())


def test_image_fits_its_filter_and_no_other(found: Maximised) -> None:
    kernels = [grating(1, 0), grating(0, 1), grating(1, 1)]
    fits = np.array([[fit(image, kernel) for kernel in kernels] for image in found.images[:3]])
    own, others = np.diag(fits), fits[~np.eye(3, dtype=bool)]
    assert own.min() > 0.8
    assert others.max() < 0.7
    assert max(fit(image, kernel) for image in noise(32, SIZE) for kernel in kernels) < 0.6


def test_activation_exceeds_that_of_noise_and_of_made_images(network: keras.Model, found: Maximised) -> None:
    x = np.arange(SIZE)
    waves = np.stack([np.broadcast_to(127 + 40 * np.sin(x[:, None] / k), (SIZE, SIZE)) for k in range(1, 9)])
    images = np.concatenate([noise(32, SIZE), np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)])
    others = np.asarray(network(images)).mean(axis=(1, 2)).max(axis=0)
    assert (found.activations[:3] > 1.5 * others[:3]).all()
    assert (found.activations[:3] > 3 * found.noise[:3]).all()
    # What is reported is the activation of the image as it is written.
    real = np.asarray(network(found.images)).mean(axis=(1, 2))
    np.testing.assert_allclose(np.diag(real), found.activations, rtol=1e-5)


def test_dead_channel_is_reported(found: Maximised) -> None:
    assert found.activations[3] == 0
    (line,) = found.doubts("active")
    assert line.startswith("channel 3 of active: no image excites it more than random noise does")


def test_same_seed_gives_the_same_image(network: keras.Model) -> None:
    channel = Channels.find(network, "active:1")
    one, same, other = (maximise(network, channel, size=SIZE, steps=4, seed=seed).images for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_capped_rectifier_is_passed_over_and_a_layer_without_one_is_used_itself() -> None:
    capped = planted_network("relu6")
    for layer in ("active:0", "conv:0"):
        found = maximise(capped, Channels.find(capped, layer), size=SIZE, steps=32)
        assert fit(found.images[0], grating(1, 0)) > 0.75


def test_channels_are_named_by_layer_and_numbers(network: keras.Model) -> None:
    assert Channels.find(network, "active").numbers == (0, 1, 2, 3)
    assert Channels.find(network, "active:2, 0,2").numbers == (2, 0)
    faults = {
        "active:4": "active has 4 channels, 0 to 3. Received: '4'. The nearest is 3.",
        "active:x": "active has 4 channels, 0 to 3. Received: 'x'.",
        "activ": "There is no layer with a feature map called 'activ'. Did you mean active?",
    }
    for text, message in faults.items():
        with pytest.raises(UnknownNameError) as error:
            Channels.find(network, text)
        assert str(error.value) == message
