"""A Keras network as OpenVINO's pair of files, .xml and .bin, in float32 or with eight bits."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.export.litert import float_layers
from transfer_cli.export.litert.float_layers import Kind, Step
from transfer_cli.export.litert.int8 import gathered
from transfer_cli.inference.formats.openvino import ABOUT
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.litert_conversion import _silence
from transfer_cli.quiet_imports import start_openvino

Images = NDArray[np.uint8]
_HELD = ("Constant", "Parameter", "Result")
_KINDS: dict[str, Kind] = {
    "Convolution": "convolution",
    "GroupConvolution": "convolution",
    "MatMul": "dense",
    "Softmax": "probabilities",
    "SoftMax": "probabilities",
    "Sigmoid": "probabilities",
}


def write_openvino(graph: Path, path: Path, about: Mapping[str, str]) -> None:
    """Write a network as OpenVINO's files, `path` and, beside it, one that ends in .bin; all numbers are float32.

    OpenVINO reads the LiteRT graph, so that one conversion serves both.

    Parameters
    ----------
    graph : Path
        Of `convert.convert`, from uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k).
    path : Path
        Ends in .xml.
    about : mapping of str to str
        What to write under ``model_info``.

    Raises
    ------
    MissingExtraError
        When OpenVINO is not installed.
    ModelError
        When the network cannot be converted.
    """
    openvino = _started()
    _save(openvino, _read(openvino, graph), path, about)


def write_openvino_int8(
    graph: Path, size: int, calibration: Iterable[Images] | Images, path: Path, about: Mapping[str, str]
) -> None:
    """Write a network as OpenVINO's files with weights and activations of eight bits.

    Ranges and the correction of biases, layer by layer, are NNCF's (Kozlov et al. 2020, "Neural Network Compression
    Framework for fast model inference"). The first convolutions and the last dense layer stay float32, see `quantize`.

    Parameters
    ----------
    graph : Path
        Of `convert.convert`, from uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k).
    size : int
        Side of its input in pixels.
    calibration : iterable of ndarray of shape (n, size, size, 3) or (size, size, 3), uint8
        Pictures that the network has learnt from, of all classes: a hundred or two.
    path : Path
        Ends in .xml.
    about : mapping of str to str
        What to write under ``model_info``.

    Raises
    ------
    InputError
        When there is no picture, or one is not of the network's size.
    MissingExtraError
        When OpenVINO or NNCF is not installed.
    ModelError
        When the network cannot be converted.
    """
    images = gathered(calibration, size)
    openvino = _started("nncf", extra="int8")
    import nncf

    original = _read(openvino, graph)
    try:
        # It draws bars on the stdout of the process.
        with redirect_stdout(io.StringIO()), _silence():
            nncf.set_log_level(logging.ERROR)
            quantized = nncf.quantize(
                original,
                nncf.Dataset([image[None] for image in images]),
                subset_size=len(images),
                preset=nncf.QuantizationPreset.MIXED,
                fast_bias_correction=False,
                ignored_scope=nncf.IgnoredScope(names=_accurate(original)),
            )
    except Exception as error:  # as many kinds as there are operations
        raise ModelError(f"{graph} could not be quantised for OpenVINO: {error}.") from error
    _save(openvino, quantized, path, about)
    path.write_text(_compact(path.read_text("utf-8")), "utf-8")


def _compact(text: str) -> str:
    """Return an .xml without line breaks and the shapes between layers, which OpenVINO infers as it reads.

    With eight bits they would be as large as half of the weights of a small network.
    """
    return re.sub(r"\n\t*|<dim>-?\d+</dim>", "", text)


def _started(*modules: str, extra: str = "openvino") -> Any:
    try:
        with redirect_stdout(io.StringIO()):
            return start_openvino(*modules)
    except ImportError as error:
        raise MissingExtraError(
            f"The format needs {' and '.join(['openvino', *modules])}, of which one is not installed: {error}.",
            hint=f"Install what is missing: pip install 'transfer-cli[{extra}]'.",
        ) from error


def _read(openvino: Any, graph: Path) -> Any:
    """Return a graph as OpenVINO's model, its input and output called by what they are."""
    try:
        model = openvino.Core().read_model(graph)
    except RuntimeError as error:
        raise ModelError(f"{graph} could not be read by OpenVINO: {error}.") from error
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    return model


def _accurate(model: Any) -> list[str]:
    """Return the names of what is left in float32: the first convolutions and the last dense layer.

    Of an ensemble these are the last dense layer of each member, and all that joins their answers.
    """
    computed = [each for each in model.get_ordered_ops() if each.get_type_name() not in _HELD]
    place = {each.get_friendly_name(): at for at, each in enumerate(computed)}
    steps = []
    for each in computed:
        names = (given.get_node().get_friendly_name() for given in each.input_values())
        kind: Kind = _KINDS.get(each.get_type_name(), "other")
        weights = int(np.prod(each.input(1).get_shape())) if kind == "convolution" else 0
        steps.append(Step(kind, tuple(place[name] for name in names if name in place), weights))
    early = [at for at in float_layers.early(steps) if steps[at].kind == "convolution"]
    last = float_layers.read_outs(steps)
    joined = float_layers.tail(steps) if len(last) > 1 else last
    return [computed[at].get_friendly_name() for at in (*early, *joined)]


def _save(openvino: Any, model: Any, path: Path, about: Mapping[str, str]) -> None:
    for word, value in about.items():
        model.set_rt_info(value, [ABOUT, word])
    openvino.save_model(model, path, compress_to_fp16=False)
