"""Copy the backbone of a network that was fine-tuned before into a new one of the same layers."""

from __future__ import annotations

import keras

from transfer_cli.errors import ModelError
from transfer_cli.models.freezing import backbone_layers
from transfer_cli.models.pretrained_branch import PRETRAINED


def copy_backbone(trained: keras.Model, network: keras.Model) -> None:
    """Copy the weights of a fine-tuned network into a backbone, layer by layer in graph order; its head is left out.

    Names would not do: Keras numbers unnamed layers over the lifetime of a process.

    Raises
    ------
    ModelError
        If the layers differ.
    """
    targets = [layer for layer in backbone_layers(network) if layer.weights]
    # The pretrained layers beside the trained ones are left out.
    own = [layer for layer in backbone_layers(trained) if not layer.name.startswith(PRETRAINED)]
    sources = [layer for layer in own if layer.weights][: len(targets)]
    for number, target in enumerate(targets):
        source = sources[number] if number < len(sources) else None
        if source is None or _shape(source) != _shape(target):
            found = "nothing" if source is None else f"a {_shape(source)[0]} with weights {_shape(source)[1]}"
            raise ModelError(
                f"The network of the earlier run has other layers: {target.name} is a {_shape(target)[0]} with weights "
                f"{_shape(target)[1]}. Received: {found}."
            )
        target.set_weights(source.get_weights())
        if isinstance(target, keras.layers.Normalization):
            target.finalize_state()


def _shape(layer: keras.Layer) -> tuple[str, list[tuple[int, ...]]]:
    return type(layer).__name__, [tuple(variable.shape) for variable in layer.weights]
