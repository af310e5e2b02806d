"""Load a network of the user's own from a ``.keras`` file: flat, with preprocessing, ready to be cut at any layer.

Sub-models are dissolved into their layers, so that ``--layer`` and the stages of a fine-tuning reach all of them, and
augmentation layers at its front are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from transfer_cli.catalog import heads
from transfer_cli.catalog.backbones import BackboneSpec
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.io.drafts import libraries_write_to, temporary_folder
from transfer_cli.io.untrusted.keras_config import AUGMENTING, check_network_config
from transfer_cli.models.freezing import cut_points
from transfer_cli.models.pretrained_branch import PRETRAINED
from transfer_cli.models.weights.network_file import NetworkFile
from transfer_cli.text import listed

_MAX_LISTED = 20
_RESERVED = (
    *("images", "probabilities", *heads.layer_names()),
    *("avg_features", "max_features", "flatten_features", "level_features"),
)
"""Names of the input, the pooling and the layers of every head."""
_MODES = {"-1-1": "tf", "tf": "tf", "torch": "torch", "caffe": "caffe"}


def load(spec: BackboneSpec, size: int) -> keras.Model:
    """Return the network in the file `spec.name`, from uint8 images of a size to its output, as a flat graph.

    Raises
    ------
    ModelError
        If the file is missing, unsafe, or a network that cannot be used.
    """
    path = Path(spec.name)
    network = _load_file(NetworkFile.read(path))
    if len(network.outputs) != 1:
        raise ModelError(f"{path} has {len(network.outputs)} outputs. Expected a network with one output.")
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    scaled = _scaled(keras.ops.cast(images, "float32"), spec.scheme)
    names = [operation.name for operation in keras.Model(images, scaled).operations]
    try:
        output = _Dissolving(path, names).apply(network, scaled)
        flat = keras.Model(images, output)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{path} does not run on images of {size} x {size} pixels: {_first_line(error)}",
            hint="Choose the size that it was trained with: --set images.size=N",
        ) from error
    # Its layers have further nodes in the graph of the file, which a cut would find first.
    fresh = keras.Model.from_config(flat.get_config())
    fresh.set_weights(flat.get_weights())
    return keras.Model(fresh.inputs[0], fresh.outputs[0], name=identifier(path.stem))


def features_of(spec: BackboneSpec, network: keras.Model) -> Any:
    """Return the tensor that gives the features: the last feature map below its head.

    The head begins where all tensors of the network become a vector, such as at its global pooling.

    Raises
    ------
    ModelError
        If there is no feature map.
    """
    heads = {operation.name for operation in cut_points(network) if _is_vector(operation)}
    last = None
    for operation in network.operations:
        if operation.name in heads and last is not None:
            break
        if len(getattr(operation.output, "shape", ())) == 4:
            last = operation.output
    if last is None or not keras.Model(network.inputs[0], last).weights:
        vectors = [each.name for each in network.layers if len(each.output.shape) == 2]
        raise ModelError(
            f"{spec.name} has no feature map: no layer with weights has an output (height, width, channels).",
            hint=f"Use the vector of a layer as features: --layer NAME, one of {listed(vectors[::-1], _MAX_LISTED)}.",
        )
    return last


def check_layers(spec: BackboneSpec, network: keras.Model) -> None:
    """Raise ModelError if a network has layers that a model of this program may not have."""
    config = json.dumps(keras.saving.serialize_keras_object(network))
    try:
        check_network_config(config.encode())
    except ValueError as error:
        raise ModelError(
            f"{spec.name} cannot be used up to this layer: {error}.",
            hint="Cut it below that layer: --layer NAME",
        ) from None


def identifier(name: str) -> str:
    """Return a name that Keras accepts."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return kept if kept[:1].isalpha() else f"network_{kept}"


def _load_file(file: NetworkFile) -> Any:
    try:
        with temporary_folder() as folder, libraries_write_to(folder):
            copy = folder / "network.keras"
            file.copy_for_keras(copy)
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except OutputError:
        raise
    except Exception as error:  # Keras raises many types for a file that it rejects
        raise ModelError(f"Cannot load {file.path}: {_first_line(error)}") from error


def _scaled(numbers: Any, scheme: str) -> Any:
    """Scale a tensor of RGB images from 0 to 255 as a scheme of `backbones.PREPROCESSING` says."""
    if scheme == "inside":
        return numbers
    if scheme == "0-1":
        return numbers / 255.0
    preprocess = keras.applications.imagenet_utils.preprocess_input
    return preprocess(numbers, data_format="channels_last", mode=_MODES[scheme])


def _is_vector(operation: Any) -> bool:
    shape = tuple(operation.output.shape)
    return len(shape) == 2 or (len(shape) == 4 and type(operation).__name__.startswith("Global"))


def _first_line(error: BaseException) -> str:
    return f"{str(error).strip().splitlines()[0][:300].rstrip('.')}." if str(error).strip() else f"{error!r}."


class _Dissolving:
    """Applies a network to a tensor, layer by layer, also inside sub-models; each layer gets a name of its own.

    Parameters
    ----------
    path : Path
        The file of the network, for messages.
    names : iterable of str
        Names that are taken: of the layers below.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._path = path
        self._names = {*_RESERVED, *names}
        self._used: set[int] = set()
        self._has_weights = False

    def apply(self, network: Any, tensor: Any) -> Any:
        if isinstance(network, keras.Sequential):
            for layer in network.layers:
                tensor = self._call(layer, tensor, parent=network.name)
            return tensor
        return network._run_through_graph(
            [tensor],
            operation_fn=lambda operation: operation,
            call_fn=lambda operation, *args, **kwargs: self._call(operation, *args, parent=network.name, **kwargs),
        )

    def _call(self, operation: Any, *args: Any, parent: str, **kwargs: Any) -> Any:
        if isinstance(operation, keras.layers.InputLayer):
            return args[0]
        if isinstance(operation, keras.Model):
            output = self.apply(operation, args[0])
            return output[0] if isinstance(output, list | tuple) and len(output) == 1 else output
        kind = type(operation).__name__
        if kind in AUGMENTING:
            return self._left_out(operation, kind, args[0])
        if id(operation) in self._used:
            operation = self._copy(operation)
        self._used.add(id(operation))
        self._has_weights |= bool(getattr(operation, "weights", ()))
        if operation.name in self._names or operation.name.startswith(PRETRAINED):
            operation.name = self._new_name(f"{parent}_{operation.name}")
        self._names.add(operation.name)
        return operation(*args, **kwargs)

    def _left_out(self, layer: Any, kind: str, tensor: Any) -> Any:
        """Return the input of a random layer, which is that of augmentation at the front of a network."""
        if not self._has_weights:
            return tensor
        raise ModelError(
            f"{self._path} cannot be used: its layer {layer.name} ({kind}) is random, and is above layers with "
            "weights. Expected random layers (augmentation) at the front only; Dropout may be anywhere.",
            hint="Build the network without it, copy the weights of the other layers, and save it again.",
        )

    def _copy(self, operation: Any) -> Any:
        """Return a copy of an operation without weights that is used twice."""
        if getattr(operation, "weights", ()):
            raise ModelError(
                f"{self._path} cannot be used: its layer {operation.name} is used several times with the same weights.",
                hint="Build the network so that each layer is used once, or cut it below that layer.",
            )
        config = operation.get_config()
        return type(operation).from_config({**config, "name": self._new_name(operation.name)})

    def _new_name(self, name: str) -> str:
        number = 2
        wanted = name
        while name in self._names:
            name, number = f"{wanted}_{number}", number + 1
        return name
