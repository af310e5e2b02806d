"""Check OpenVINO files before OpenVINO reads them, and run them on the CPU. TensorFlow and Keras are not imported.

An .xml from an untrusted source may name other files, operations of libraries that would be loaded, or entities that
expand to gigabytes of text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from transfer_cli.catalog import runtimes
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.signature import INPUT, OUTPUT, Run, check_side, in_batches
from transfer_cli.quiet_imports import import_openvino
from transfer_cli.regular_file import open_regular

MODEL_INFO = "model_info"
"""Section of the runtime information in which OpenVINO's own tools look for class names and the like."""
_MAX_XML_BYTES = 64 << 20
_MAX_LAYERS = 200_000
_MAX_DEPTH = 12
_OPSETS = {f"opset{number}" for number in range(1, 17)}
# fmt: off
_TYPES = frozenset({
    "Abs", "Add", "AvgPool", "Broadcast", "Clamp", "Concat", "Const", "Convert", "Convolution", "Divide", "Elu", "Erf",
    "Exp", "FakeQuantize", "Floor", "Gather", "Gelu", "GroupConvolution", "HSigmoid", "HSwish", "Log", "MatMul",
    "Maximum", "MaxPool", "Minimum", "Multiply", "MVN", "Negative", "Pad", "Parameter", "Power", "PRelu", "ReduceMax",
    "ReduceMean", "ReduceProd", "ReduceSum", "ReLU", "Relu", "Reshape", "Result", "Select", "ShapeOf", "Sigmoid",
    "Slice", "Softmax", "SoftMax", "SoftPlus", "Split", "Sqrt", "SquaredDifference", "Squeeze", "StridedSlice",
    "Subtract", "Swish", "Tanh", "Tile", "Transpose", "Unsqueeze", "VariadicSplit",
})
# fmt: on
"""Operations of the networks in the catalog and similar ones: no loops, no state, no access to files."""


def open_openvino(path: Path, *, size: int | None = None) -> Run:
    """Check a network with `check_openvino` and return a function that runs it on the CPU.

    Parameters
    ----------
    path : Path
        The .xml.
    size : int, optional
        Required side of the input in pixels; not checked by default.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k), for any n.

    Raises
    ------
    ModelError
        When it is not a network from images to probabilities, or OpenVINO cannot open it.
    MissingExtraError
        When OpenVINO is not installed.
    """
    check_side(path, size, check_openvino(path))
    try:
        openvino = import_openvino("openvino.frontend")
    except ImportError as error:
        raise runtimes.missing_package_error(runtimes.find(runtimes.OPENVINO)) from error
    try:
        model = read_network(openvino, "ir", path)
        images, probabilities = model.input(INPUT), model.output(OUTPUT)
        if images.element_type != openvino.Type.u8 or probabilities.element_type != openvino.Type.f32:
            types = f"{images.element_type.to_string()} to {probabilities.element_type.to_string()}"
            _reject(path, f"it computes {types} instead of u8 to f32")
        if len(probabilities.partial_shape) != 2:
            _reject(path, f"its {OUTPUT} have the shape {probabilities.partial_shape}")
        compiled = compile_for_cpu(openvino, model)
    except RuntimeError as error:
        raise ModelError(f"{path} cannot be opened by OpenVINO: {error}.") from error
    return in_batches(lambda images: np.array(compiled(images)[0], np.float32))


def read_network(openvino: Any, front_end: str, path: Path) -> Any:
    """Return the network in a file, read by one front end of OpenVINO.

    Left to itself, OpenVINO chooses a front end by the content; some of them read other files that the content names.
    """
    chosen = openvino.frontend.FrontEndManager().load_by_framework(front_end)
    try:
        return chosen.convert(chosen.load(str(path)))
    except Exception as error:  # a front end has several types that are no RuntimeError
        raise RuntimeError(str(error)) from error


def compile_for_cpu(openvino: Any, model: Any, precision: str = "f32") -> Any:
    """Return a network ready to run on the CPU in a precision."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", settings)


def check_openvino(path: Path) -> int:
    """Check an .xml from an untrusted source, and return the side of its images in pixels.

    It must be a network from images to probabilities with its .bin beside it.

    Raises
    ------
    ModelError
        When a file is missing or too large; when the .xml has another encoding than UTF-8, declares a document type or
        entities, has an operation that transfer-cli does not write, weights outside of its .bin, or another input or
        output.
    """
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        if not file.is_file():
            raise ModelError(f"{file} is missing. Expected {path.name} and {weights.name} in the same folder.")
    if path.stat().st_size > _MAX_XML_BYTES:
        _reject(path, f"it has {path.stat().st_size >> 20} MB; expected at most {_MAX_XML_BYTES >> 20} MB")
    checker = _XmlChecker(path, weights.stat().st_size)
    try:
        with open_regular(path) as opened:
            checker.parser.ParseFile(opened)
    except (expat.ExpatError, OSError, ValueError, LookupError) as error:
        raise ModelError(f"{path} could not be read: {error}.") from error
    return checker.check_signature()


def read_model_info(path: Path) -> dict[str, str]:
    """Check an .xml with `check_openvino` and return the metadata in it."""
    check_openvino(path)
    entries = ElementTree.parse(path).getroot().find(f"rt_info/{MODEL_INFO}")
    return {} if entries is None else {entry.tag: entry.get("value", "") for entry in entries}


def _reject(path: Path, reason: str) -> NoReturn:
    raise ModelError(
        f"{path} was not opened: {reason}. Expected a network that transfer-cli wrote, uint8 images to probabilities.",
        hint="Export the run again: transfer-cli export RUN --format openvino",
    )


class _XmlChecker:
    """Checks an .xml element by element while it is parsed."""

    def __init__(self, path: Path, weights: int) -> None:
        self._path, self._weights_bytes = path, weights
        self._open_elements: list[str] = []
        self._layer_type = ""
        self._layers = 0
        self._inputs: list[tuple[str, list[str]]] = []
        self._outputs = 0
        self._port_names: set[str] = set()
        # Only UTF-8 is accepted, whatever the file says: OpenVINO might read other elements than this parser.
        self.parser = expat.ParserCreate("UTF-8")
        self.parser.XmlDeclHandler = self._check_encoding
        for event in ("StartDoctypeDecl", "EntityDecl", "ExternalEntityRef", "ProcessingInstruction"):
            setattr(self.parser, f"{event}Handler", self._reject_declaration)
        self.parser.StartElementHandler = self._start_element
        self.parser.EndElementHandler = lambda name: self._open_elements.pop()

    def check_signature(self) -> int:
        """Return the side of the images; reject other inputs and outputs than those that transfer-cli writes."""
        if not self._layers:
            _reject(self._path, "it contains no network")
        if len(self._inputs) != 1 or self._outputs != 1:
            _reject(self._path, f"it has {len(self._inputs)} inputs and {self._outputs} outputs")
        dtype, shape = self._inputs[0]
        is_square = (
            len(shape) == 4 and shape[1] == shape[2] and shape[1].isdecimal() and len(shape[1]) < 6 and shape[3] == "3"
        )
        if dtype != "u8" or not is_square or shape[0] not in ("?", "-1"):
            _reject(self._path, f"its input is {dtype} of shape ({', '.join(shape)})")
        if not {INPUT, OUTPUT} <= self._port_names:
            _reject(self._path, f"it has no input named {INPUT}, or no output named {OUTPUT}")
        return int(shape[1])

    def _check_encoding(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            _reject(self._path, f"its encoding is {encoding[:40]!r}, not UTF-8")

    def _reject_declaration(self, *_: Any) -> NoReturn:
        _reject(self._path, "it declares a document type, an entity or an instruction, which no network needs")

    def _start_element(self, name: str, attributes: dict[str, str]) -> None:
        self._open_elements.append(name)
        if len(self._open_elements) == 1 and name != "net":
            _reject(self._path, f"its root element is {name!r}, not 'net'")
        if len(self._open_elements) > _MAX_DEPTH:
            _reject(self._path, "its elements are nested too deeply")
        location = tuple(self._open_elements)
        if name == "layer":
            self._check_layer(location, attributes)
        elif location == ("net", "layers", "layer", "data"):
            self._check_data(attributes)
        elif name == "port":
            self._port_names.update(attributes.get("names", "").split(","))
        elif name in ("body", "port_map", "back_edges", "statistics", "pre-process"):
            _reject(self._path, f"it has an element {name!r}")

    def _check_layer(self, location: tuple[str, ...], attributes: dict[str, str]) -> None:
        self._layers += 1
        self._layer_type, opset = attributes.get("type", ""), attributes.get("version", "")
        if location != ("net", "layers", "layer"):
            _reject(self._path, "it has a network inside a network")
        if self._layers > _MAX_LAYERS:
            _reject(self._path, f"it has more than {_MAX_LAYERS} layers")
        if self._layer_type not in _TYPES or opset not in _OPSETS:
            _reject(self._path, f"its layer type {self._layer_type!r} of {opset!r} is unknown")
        self._outputs += self._layer_type == "Result"

    def _check_data(self, attributes: dict[str, str]) -> None:
        if self._layer_type == "Parameter":
            shape = [dimension.strip() for dimension in attributes.get("shape", "").split(",")]
            self._inputs.append((attributes.get("element_type", ""), shape))
        if self._layer_type == "Const":
            offset, size = attributes.get("offset", ""), attributes.get("size", "")
            are_numbers = offset.isdecimal() and size.isdecimal() and max(len(offset), len(size)) < 20
            if not are_numbers or int(offset) + int(size) > self._weights_bytes:
                _reject(self._path, f"{size!r} bytes at {offset!r} are not in its .bin of {self._weights_bytes} bytes")
