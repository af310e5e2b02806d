"""A row of the catalog becomes a keras.Model from uint8 pictures to features, with its preprocessing inside."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.backbones import EMBEDDED, BackboneSpec, WeightsFile
from transfer_cli.errors import InputError, ModelError, UnknownNameError, WeightsError, nearest
from transfer_cli.models import textbook
from transfer_cli.models.weights import download, embedded
from transfer_cli.models.weights.integrity import damage, must_be_what_keras_knows
from transfer_cli.models.weights.registry import cache_folder, embedded_file, imagenet_files, is_damaged, must_be_known
from transfer_cli.progress import SILENT, Progress

# Keras prints to stdout, which is the product's; its progress bars and messages go to the log instead.
keras.utils.disable_interactive_logging()


def build(
    spec: BackboneSpec,
    *,
    weights: str = "imagenet",
    size: int | None = None,
    layer: str | None = None,
    pooling: str = "avg",
    seed: int = 0,
    offline: bool = False,
    progress: Progress = SILENT,
) -> keras.Model:
    """Return a frozen network from pictures to features.

    Parameters
    ----------
    spec : BackboneSpec
    weights : str
        ``imagenet``, ``none`` (random, of `seed`), ``embedded`` (those of this package) or the path of a file of
        weights without a top.
    size : int, optional
        Side of the input in pixels; the row's own where it is not given.
    layer : str, optional
        The layer to cut after; the last below the top where it is not given.
    pooling : {"avg", "max", "flatten"}
        How a map becomes one row; a layer that already gives one row is not pooled.
    seed : int
        Of random weights.
    offline : bool
        Never open a socket.
    progress : Progress

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, width). Its graph is flat, so that every layer of
        the backbone can be cut at.

    Raises
    ------
    WeightsError
        When the weights cannot be had or do not fit.
    UnknownNameError
        When there is no layer of that name.
    """
    size = size or spec.size
    if size < spec.minimum:
        raise InputError(
            f"{spec.name} takes pictures of {spec.minimum} pixels or more. Received: images.size = {size}."
        )
    network = _network(spec, weights, size, top=False, seed=seed, offline=offline, progress=progress)
    features = _pooled(_cut(network, layer, spec).output, pooling)
    model = keras.Model(network.inputs[0], features, name=f"{_identifier(spec.name)}_features")
    model.trainable = False
    return model


def build_with_top(
    spec: BackboneSpec,
    *,
    weights: str = "imagenet",
    offline: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
) -> keras.Model:
    """Return the whole network from uint8 pictures to the probabilities of its 1000 ImageNet classes."""
    return _network(spec, weights, spec.size, top=True, seed=seed, offline=offline, progress=progress)


def plain(spec: BackboneSpec) -> keras.Model:
    """Return the network by itself, with its top and random weights, for its layer table."""
    shape = (spec.size, spec.size, 3)
    if not spec.is_pretrained:
        return _assembled(spec, keras.Input(shape), top=True)
    return _factory(spec)(weights=None, include_top=True, input_shape=shape, **_width(spec))


def rescale_random_batchnorms(network: keras.Model, images: NDArray[np.uint8]) -> None:
    """Let every BatchNorm of a network of random weights divide by the size of what reaches it.

    As it is drawn, each layer of such a network shrinks its input, and after thirty of them the numbers are too small
    to be trained. Means are left at zero and channels at their proportions, so that it is the same function, but for
    its scale, as far as its activations are homogeneous.

    Parameters
    ----------
    network : keras.Model
    images : ndarray of shape (n, size, size, 3), uint8
        Some of what it will see.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.call = _measured(norm)
    try:
        network(images, training=False)
    finally:
        for norm in norms:
            del norm.call


def _measured(norm: keras.layers.BatchNormalization) -> Any:
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        norm.moving_variance.assign(keras.ops.full_like(norm.moving_variance, keras.ops.mean(inputs**2)))
        return keras.layers.BatchNormalization.call(norm, inputs, training=False)

    return call


def _network(
    spec: BackboneSpec, weights: str, size: int, *, top: bool, seed: int, offline: bool, progress: Progress
) -> keras.Model:
    source = own = None
    wanted: list[WeightsFile] = []
    if weights == "imagenet":
        wanted = imagenet_files(spec, top=top, size=size)
        download.bring(wanted, offline=offline, progress=progress)
        must_be_what_keras_knows(wanted[0])
        source = cache_folder() / wanted[0].name
    elif weights == EMBEDDED:
        own = embedded_file(spec)
    elif weights == "none":
        keras.utils.set_random_seed(seed)
    else:
        must_be_known(weights)
        source = Path(weights)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    network = _assembled(spec, images, top=top)
    if own:
        embedded.load(network, own)
    if source:
        _load_weights(network, source, spec, downloaded=wanted[0] if weights == "imagenet" else None)
    # The factories hand out a list of inputs; called with one tensor such a model complains.
    return keras.Model(network.inputs[0], network.output, name=_identifier(spec.name))


def _assembled(spec: BackboneSpec, images: Any, *, top: bool) -> keras.Model:
    """Return the network on an input of pictures from 0 to 255, scaled inside it."""
    numbers = keras.ops.cast(images, "float32")
    if not spec.is_pretrained:
        scaled = textbook.scaled(numbers, spec.scheme)
        return keras.Model(images, getattr(textbook, spec.factory)(scaled, spec.classes if top else None))
    scaled = importlib.import_module(f"keras.applications.{spec.module}").preprocess_input(numbers)
    return _factory(spec)(
        weights=None, include_top=top, input_tensor=scaled, input_shape=images.shape[1:], **_width(spec)
    )


def _load_weights(network: keras.Model, source: Path, spec: BackboneSpec, *, downloaded: WeightsFile | None) -> None:
    try:
        network.load_weights(source)
    except Exception as error:  # h5py and Keras raise many kinds at a damaged or foreign file
        if downloaded and (reason := damage(downloaded, source)):
            raise is_damaged(downloaded, reason) from error
        raise WeightsError(f"The weights in {source} do not fit {spec.name}: {error}.") from error


def _factory(spec: BackboneSpec) -> Any:
    return getattr(keras.applications, spec.factory)


def _width(spec: BackboneSpec) -> dict[str, float]:
    return {"alpha": spec.alpha} if spec.alphas or spec.embedded else {}


def _identifier(name: str) -> str:
    return name.replace("@", "_").replace(".", "_")


def _cut(network: keras.Model, layer: str | None, spec: BackboneSpec) -> keras.Layer:
    if layer is None:
        return network.layers[-1]
    names = [candidate.name for candidate in network.layers]
    if layer not in names:
        near = nearest(layer, names)
        guess = f" Did you mean {near}?" if near else ""
        raise UnknownNameError(
            f"{spec.name} has no layer {layer!r}.{guess}", hint=f"See all: transfer-cli backbones show {spec.name}"
        )
    return network.get_layer(layer)


def _pooled(features: Any, pooling: str) -> Any:
    if len(features.shape) == 2:
        return features
    if len(features.shape) != 4:
        raise ModelError(
            f"That layer gives an output of shape {tuple(features.shape[1:])}. Expected a map or a row.",
            hint="Choose another with --layer.",
        )
    pools = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    return pools[pooling](name=f"{pooling}_features")(features)
