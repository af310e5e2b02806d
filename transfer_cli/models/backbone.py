"""Build a backbone of the catalog as a keras.Model from uint8 images to features, preprocessing included."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import layers
from transfer_cli.catalog.backbones import EMBEDDED, BackboneSpec, WeightsFile
from transfer_cli.errors import InputError, ModelError, OutputError, UnknownNameError, WeightsError
from transfer_cli.io.untrusted.hdf5_file import check_hdf5_self_contained
from transfer_cli.models import handcrafted, input_normalization, own_network, planned_network, textbook
from transfer_cli.models.feature_levels import LEVELS, pool_levels
from transfer_cli.models.freezing import POOLINGS, backbone_layers
from transfer_cli.models.weights import download, embedded, registry
from transfer_cli.models.weights.integrity import check_digest, damage
from transfer_cli.models.weights.own_weights import OwnWeights
from transfer_cli.progress import SILENT, Progress
from transfer_cli.recipe.normalization import Normalization

# Keras prints to stdout, which is reserved for results.
keras.utils.disable_interactive_logging()


def build(
    spec: BackboneSpec,
    *,
    weights: str = "imagenet",
    size: int | None = None,
    layer: str | None = None,
    pooling: str | None = None,
    seed: int = 0,
    normalization: Normalization | None = None,
    offline: bool = False,
    progress: Progress = SILENT,
) -> keras.Model:
    """Build a frozen network from images to features.

    Parameters
    ----------
    spec : BackboneSpec
    weights : str
        ``imagenet``, ``none`` (random, from `seed`), ``embedded`` (shipped with the package) or the path of a weights
        file without the classification head.
    size : int, optional
        Side of the input in pixels. Default: the size of the catalog row.
    layer : str, optional
        Layer whose output gives the features. Default: the last layer below the classification head; of a network file
        the last feature map. A layer of the
        head itself needs the weights ``imagenet`` and the size of the catalog row.
    pooling : {"avg", "max", "flatten", "levels"}, optional
        How a feature map becomes a vector, avg by default; ignored if the layer gives a vector. levels: also those of
        lower levels (`feature_levels.pool_levels`).
    seed : int
        Seed of random weights.
    normalization : Normalization, optional
        Of the scaled images; not of a network file. Default: none.
    offline : bool
        Never open an internet connection.
    progress : Progress

    Returns
    -------
    keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, width). The graph is flat: it can be cut at every
        layer of the backbone.

    Raises
    ------
    WeightsError
        If the weights are not available or do not fit.
    UnknownNameError
        If there is no layer of that name.
    """
    size = size or spec.size
    if size < spec.min_size:
        raise InputError(
            f"{spec.name} needs images of at least {spec.min_size} pixels. Received: images.size = {size}."
        )
    top = spec.needs_top(layer, weights, size)
    network = _network(
        spec, weights, size, top=top, seed=seed, normalization=normalization, offline=offline, progress=progress
    )
    own = {each.name: each for each in network.layers}
    if layer is None:
        output = own_network.features_of(spec, network) if spec.is_file else network.layers[-1].output
    elif layer not in own:
        raise _no_such_layer(spec, layer, [each.name for each in backbone_layers(network)], weights, size)
    else:
        output = own[layer].output
    features = _pooled(network.inputs[0], output, pooling or "avg")
    model = keras.Model(network.inputs[0], features, name=f"{network.name}_features")
    model.trainable = False
    if spec.is_file:
        own_network.check_layers(spec, model)
    return model


def _no_such_layer(spec: BackboneSpec, layer: str, known: list[str], weights: str, size: int) -> UnknownNameError:
    """Return the error for a layer that cannot give the features; its hint lists only layers that can."""
    error = layers.unknown(f"layer of {spec.name}", layer, known)
    if spec.is_file or layer not in spec.top_layers:
        return error
    ways = f"Or use --weights imagenet and images of {spec.size} pixels. " if spec.has_imagenet else ""
    return UnknownNameError(
        f"{layer} is a classification layer of {spec.name}. Expected a layer below them, or ImageNet weights at "
        f"{spec.size} pixels, which alone have them. Received: --weights {weights} at {size} pixels.",
        hint=f"{ways}{error.hint}",
    )


def build_with_top(spec: BackboneSpec, *, offline: bool = False, progress: Progress = SILENT) -> keras.Model:
    """Build the whole network, from uint8 images to the probabilities of the 1000 ImageNet classes."""
    # The weights, and the names of their classes.
    files = registry.imagenet_files(spec, top=True, size=spec.size)
    download.download_missing(files, offline=offline, progress=progress)
    return _network(spec, "imagenet", spec.size, top=True, seed=0, offline=offline, progress=progress)


def build_bare(spec: BackboneSpec) -> keras.Model:
    """Build the network with its head but without values of the weights and preprocessing, for its layer table."""
    shape = (spec.size, spec.size, 3)
    # Variables keep their shapes only, which takes a fifth of the time and no memory for the weights.
    with keras.StatelessScope(initialize_variables=False):
        if not spec.is_pretrained:
            return _assemble(spec, keras.Input(shape), top=True)
        return _application(spec, include_top=True, input_shape=shape)


def rescale_random_batchnorms(network: keras.Model, images: NDArray[np.uint8]) -> None:
    """Set the moving variance of each BatchNorm of a random network to the mean square of its input.

    Each layer of a randomly initialised network shrinks its input; after thirty layers the activations are too small to
    train on. Means stay zero and channels keep their proportions: only the scale of the function changes.

    Parameters
    ----------
    network : keras.Model
    images : ndarray of shape (n, size, size, 3), uint8
        A sample of the images that it will see.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.call = _measuring_call(norm)
    try:
        network(images, training=False)
    finally:
        for norm in norms:
            del norm.call


def _measuring_call(norm: keras.layers.BatchNormalization) -> Any:
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        norm.moving_variance.assign(keras.ops.full_like(norm.moving_variance, keras.ops.mean(inputs**2)))
        return keras.layers.BatchNormalization.call(norm, inputs, training=False)

    return call


def _network(
    spec: BackboneSpec,
    weights: str,
    size: int,
    *,
    top: bool,
    seed: int,
    offline: bool,
    progress: Progress,
    normalization: Normalization | None = None,
) -> keras.Model:
    if spec.is_file:
        return own_network.load(spec, size)
    downloaded = shipped = own = None
    if weights == "imagenet":
        downloaded = spec.weights_file(top=top, size=size)
        download.download_missing([downloaded], offline=offline, progress=progress)
        check_digest(downloaded)
    elif weights == EMBEDDED:
        shipped = registry.embedded_file(spec)
    elif weights == "none":
        keras.utils.set_random_seed(seed)
    else:
        registry.require_weights_file(weights)
        own = OwnWeights.read(Path(weights), spec)
        own.check(spec)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    network = _assemble(spec, images, top=top, normalization=normalization)
    if shipped:
        embedded.load(network, shipped)
    elif own:
        _load_own(network, own, spec)
    elif downloaded:
        _load_downloaded(network, downloaded, spec)
    # The factories return a model with a list of inputs, which warns when it is called with one tensor.
    return keras.Model(network.inputs[0], network.output, name=_identifier(spec.name))


def _load_downloaded(network: keras.Model, file: WeightsFile, spec: BackboneSpec) -> None:
    source = registry.cache_folder() / file.name
    try:
        if h5py.is_hdf5(source):
            check_hdf5_self_contained(source)
        network.load_weights(source)
    except Exception as error:  # h5py and Keras raise many types for a damaged file
        if reason := damage(file, source):
            raise registry.damaged_error(file, reason) from error
        raise WeightsError(f"The weights in {source} do not fit {spec.name}: {error}.") from error


def _load_own(network: keras.Model, own: OwnWeights, spec: BackboneSpec) -> None:
    try:
        # Keras warns of each layer that does not fit.
        with own.loadable() as source, warnings.catch_warnings(action="ignore"):
            network.load_weights(source)
    except OutputError:
        raise
    except Exception as error:  # Keras raises many types for weights of another network
        raise own.misfit(spec) from error


def _assemble(spec: BackboneSpec, images: Any, *, top: bool, normalization: Normalization | None = None) -> keras.Model:
    """Return the network on an input of images from 0 to 255; it scales them itself."""
    numbers, normalization = keras.ops.cast(images, "float32"), normalization or Normalization()
    if not spec.is_pretrained:
        scaled = input_normalization.normalised(textbook.scaled(numbers, spec.scheme), normalization)
        if spec.layers:
            return keras.Model(images, planned_network.build(scaled, spec.layers))
        build_layers = getattr(handcrafted if spec.is_handcrafted else textbook, spec.factory)
        return keras.Model(images, build_layers(scaled, spec.classes if top else None))
    scaled = importlib.import_module(f"keras.applications.{spec.module}").preprocess_input(numbers)
    scaled = input_normalization.normalised(scaled, normalization)
    return _application(spec, include_top=top, input_tensor=scaled, input_shape=images.shape[1:])


def _application(spec: BackboneSpec, **arguments: Any) -> keras.Model:
    """Return the network of keras.applications with random weights."""
    width = {"alpha": spec.alpha} if spec.alphas or spec.embedded else {}
    return getattr(keras.applications, spec.factory)(weights=None, **width, **arguments)


def _identifier(name: str) -> str:
    return name.replace("@", "_").replace(".", "_")


def _pooled(images: Any, features: Any, pooling: str) -> Any:
    if len(features.shape) == 2:
        return features
    if len(features.shape) != 4:
        raise ModelError(
            f"The layer has an output of shape {tuple(features.shape[1:])}. Expected a feature map or a vector.",
            hint="Choose another layer with --layer.",
        )
    if pooling == LEVELS:
        return pool_levels(images, features)
    return POOLINGS[pooling](name=f"{pooling}_features")(features)
