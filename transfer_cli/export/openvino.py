"""Write a network as OpenVINO files, .xml and .bin, in float32 or int8."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.float_layers import Kind, Operation
from transfer_cli.inference.formats.openvino import MODEL_INFO
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.litert_conversion import silent_converter
from transfer_cli.quiet_imports import import_openvino

_NOT_COMPUTED = ("Constant", "Parameter", "Result")
_KINDS: dict[str, Kind] = {
    "Convolution": "convolution",
    "GroupConvolution": "convolution",
    "ReduceMean": "pooling",
    "Abs": "absolute",
    "MatMul": "dense",
    "Softmax": "probabilities",
    "SoftMax": "probabilities",
    "Sigmoid": "probabilities",
}


def write_openvino(
    graph: Path, path: Path, model_info: Mapping[str, str], calibration: NDArray[np.uint8] | None = None
) -> None:
    """Convert a LiteRT graph to OpenVINO files: `path`, and a .bin with the weights beside it.

    For int8 weights and activations, NNCF computes the ranges and corrects the biases layer by layer [1]_. The first
    convolutions, the roots of pooled features and the last dense layer stay float32, see `float_layers`.

    Parameters
    ----------
    graph : Path
        Written by `litert_conversion.convert`: uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    path : Path
        The .xml.
    model_info : mapping of str to str
        Metadata to write under ``model_info``.
    calibration : ndarray of shape (n, size, size, 3), uint8, optional
        For int8: 100 to 200 training images of all classes.

    Raises
    ------
    MissingExtraError
        When OpenVINO, or NNCF for int8, is not installed.
    ModelError
        When OpenVINO cannot read the graph, or it cannot be quantized.

    References
    ----------
    .. [1] Kozlov et al. 2020, "Neural Network Compression Framework for fast model inference".
    """
    packages, extra = (("openvino",), "openvino") if calibration is None else (("openvino", "nncf"), "int8")
    try:
        with redirect_stdout(io.StringIO()):
            openvino = import_openvino(*packages[1:])
    except ImportError as error:
        raise MissingExtraError(
            f"The format needs {' and '.join(packages)}, which cannot be imported: {error}.",
            hint=f"Install the missing package: pip install 'transfer-cli[{extra}]'.",
        ) from error
    try:
        model = openvino.Core().read_model(graph)
    except RuntimeError as error:
        raise ModelError(f"{graph} could not be read by OpenVINO: {error}.") from error
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    if calibration is not None:
        try:
            model = _quantized(model, calibration)
        except Exception as error:  # NNCF raises many kinds of errors
            raise ModelError(f"{graph} cannot be quantized for OpenVINO: {error}.") from error
    for key, value in model_info.items():
        model.set_rt_info(value, [MODEL_INFO, key])
    openvino.save_model(model, path, compress_to_fp16=False)
    if calibration is not None:
        path.write_text(_compact(path.read_text("utf-8")), "utf-8")


def _quantized(model: Any, calibration: NDArray[np.uint8]) -> Any:
    import nncf

    # NNCF prints progress bars to stdout.
    with redirect_stdout(io.StringIO()), silent_converter():
        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in calibration]),
            subset_size=len(calibration),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(names=_float_operations(model)),
        )


def _compact(text: str) -> str:
    """Return an .xml without line breaks and without the shapes between layers, which OpenVINO infers.

    In int8 they would take half as many bytes as the weights of a small network.
    """
    return re.sub(r"\n\t*|<dim>-?\d+</dim>", "", text)


def _float_operations(model: Any) -> list[str]:
    """Return the names of the operations that stay float32: the first convolutions, roots, and the last dense layer.

    In an ensemble these are the last dense layers of all members, and the combination of their predictions.
    """
    computed = [node for node in model.get_ordered_ops() if node.get_type_name() not in _NOT_COMPUTED]
    index_of = {node.get_friendly_name(): index for index, node in enumerate(computed)}
    operations = []
    for node in computed:
        inputs = (value.get_node().get_friendly_name() for value in node.input_values())
        kind: Kind = _KINDS.get(node.get_type_name(), "other")
        weights = int(np.prod(node.input(1).get_shape())) if kind == "convolution" else 0
        operations.append(Operation(kind, tuple(index_of[name] for name in inputs if name in index_of), weights))
    early = [index for index in float_layers.early(operations) if operations[index].kind == "convolution"]
    last = float_layers.logit_layers(operations)
    late = float_layers.tail(operations) if len(last) > 1 else last
    selected = sorted({*early, *float_layers.roots(operations), *late})
    return [computed[index].get_friendly_name() for index in selected]
