"""OpenVINO's files, looked through before OpenVINO reads them.

An .xml can name other files, operations out of libraries of its own, or text that grows a million times when it is
read. Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.catalog.runtimes import FEW
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.quiet_imports import start_openvino

ABOUT = "model_info"
"""Under which key of the runtime's information OpenVINO's own tools look for class names and the like."""
_LARGEST_XML = 64 << 20
_MOST_LAYERS = 200_000
_DEEPEST = 12
_OPSETS = {f"opset{number}" for number in range(1, 17)}
# fmt: off
_TYPES = frozenset({
    "Add", "AvgPool", "Broadcast", "Clamp", "Concat", "Const", "Convert", "Convolution", "Divide", "Elu", "Erf",
    "Exp", "FakeQuantize", "Floor", "Gather", "Gelu", "GroupConvolution", "HSigmoid", "HSwish", "Log", "MatMul",
    "Maximum", "MaxPool", "Minimum", "Multiply", "MVN", "Negative", "Pad", "Parameter", "Power", "PRelu", "ReduceMax",
    "ReduceMean", "ReduceProd", "ReduceSum", "ReLU", "Relu", "Reshape", "Result", "Select", "ShapeOf", "Sigmoid",
    "Slice", "Softmax", "SoftMax", "SoftPlus", "Split", "Sqrt", "SquaredDifference", "Squeeze", "StridedSlice",
    "Subtract", "Swish", "Tanh", "Tile", "Transpose", "Unsqueeze", "VariadicSplit",
})
# fmt: on
"""What the networks of the catalog are made of, and others of their kind: no loops, no state, no reading of files."""

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]


def open_openvino(path: Path) -> Callable[[Images], Rows]:
    """Return a function that runs a network in OpenVINO's files, after `check_openvino`.

    Parameters
    ----------
    path : Path
        Of the .xml.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k); n may change from call to call.

    Raises
    ------
    ModelError
        When it is no network from pictures to probabilities, or OpenVINO does not take it.
    MissingExtraError
        When OpenVINO is not installed.
    """
    check_openvino(path)
    try:
        openvino = start_openvino()
    except ImportError as error:
        raise runtimes.missing(runtimes.find(runtimes.OPENVINO)) from error
    words = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    try:
        model = openvino.Core().read_model(path)
        given, result = model.input(INPUT), model.output(OUTPUT)
        if given.element_type != openvino.Type.u8 or result.element_type != openvino.Type.f32:
            _refuse(path, f"it computes {result.element_type.to_string()} from {given.element_type.to_string()}")
        if len(result.partial_shape) != 2:
            _refuse(path, f"its {OUTPUT} have the shape {result.partial_shape}")
        compiled = openvino.Core().compile_model(model, "CPU", words)
    except RuntimeError as error:
        raise ModelError(f"{path} cannot be opened by openvino: {error}.") from error

    def few(images: Images) -> Rows:
        return np.array(compiled(images)[0], np.float32)

    return lambda images: np.concatenate([few(images[at : at + FEW]) for at in range(0, len(images), FEW)])


def check_openvino(path: Path) -> None:
    """Refuse an .xml that is no plain network from pictures to probabilities with its .bin beside it.

    Raises
    ------
    ModelError
        When a file is missing or too large, declares a document type or entities, has an operation that this program
        does not write, weights outside of its .bin, or another input or output.
    """
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        if not file.is_file():
            raise ModelError(
                f"{file} is missing. Expected {path.name} and {weights.name} beside each other, as they were exported."
            )
    if path.stat().st_size > _LARGEST_XML:
        _refuse(path, f"it has {path.stat().st_size >> 20} MB; expected {_LARGEST_XML >> 20} at most")
    look = _Look(path, weights.stat().st_size)
    try:
        with path.open("rb") as opened:
            look.parser.ParseFile(opened)
    except (expat.ExpatError, OSError) as error:
        raise ModelError(f"{path} could not be read: {error}.") from error
    look.must_be_a_classifier()


def about_of(path: Path) -> dict[str, str]:
    """Return what a network in OpenVINO's files says of itself, once `check_openvino` has let it pass."""
    check_openvino(path)
    about = ElementTree.parse(path).getroot().find(f"rt_info/{ABOUT}")
    return {} if about is None else {entry.tag: entry.get("value", "") for entry in about}


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ModelError(
        f"{path} is not opened: {reason}. Expected a network that transfer-cli wrote, uint8 pictures to probabilities.",
        hint="Export the run again: transfer-cli export RUN --format openvino",
    )


class _Look:
    """What is seen of an .xml while it is read, element by element."""

    def __init__(self, path: Path, weights: int) -> None:
        self._path, self._weights = path, weights
        self._inside: list[str] = []
        self._kind = ""
        self._layers = 0
        self._given: list[tuple[str, list[str]]] = []
        self._results = 0
        self._names: set[str] = set()
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._declared
        self.parser.EntityDeclHandler = self._declared
        self.parser.ExternalEntityRefHandler = self._declared
        self.parser.ProcessingInstructionHandler = self._declared
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = lambda name: self._inside.pop()

    def must_be_a_classifier(self) -> None:
        """Refuse a network whose input and output are not ours."""
        if not self._layers:
            _refuse(self._path, "it holds no network")
        if len(self._given) != 1 or self._results != 1:
            _refuse(self._path, f"it has {len(self._given)} inputs and {self._results} outputs")
        kind, shape = self._given[0]
        square = len(shape) == 4 and shape[1] == shape[2] and shape[1].isdecimal() and shape[3] == "3"
        if kind != "u8" or not square or shape[0] not in ("?", "-1"):
            _refuse(self._path, f"its input is {kind} of the shape ({', '.join(shape)})")
        if not {INPUT, OUTPUT} <= self._names:
            _refuse(self._path, f"no input is called {INPUT}, or no output {OUTPUT}")

    def _declared(self, *words: Any) -> NoReturn:
        _refuse(self._path, "it declares a document type, an entity or an instruction, which no network needs")

    def _begin(self, name: str, words: dict[str, str]) -> None:
        self._inside.append(name)
        if len(self._inside) == 1 and name != "net":
            _refuse(self._path, f"it is a {name!r} and no net")
        if len(self._inside) > _DEEPEST:
            _refuse(self._path, "its elements are nested too deeply")
        where = tuple(self._inside)
        if name == "layer":
            self._layer(where, words)
        elif where == ("net", "layers", "layer", "data"):
            self._data(words)
        elif name == "port":
            self._names.update(words.get("names", "").split(","))
        elif name in ("body", "port_map", "back_edges", "statistics", "pre-process"):
            _refuse(self._path, f"it has a part called {name!r}")

    def _layer(self, where: tuple[str, ...], words: dict[str, str]) -> None:
        self._layers += 1
        self._kind, opset = words.get("type", ""), words.get("version", "")
        if where != ("net", "layers", "layer"):
            _refuse(self._path, "it has a network within a network")
        if self._layers > _MOST_LAYERS:
            _refuse(self._path, f"it has more than {_MOST_LAYERS} layers")
        if self._kind not in _TYPES or opset not in _OPSETS:
            _refuse(self._path, f"this program knows no layer of the type {self._kind!r} out of {opset!r}")
        self._results += self._kind == "Result"

    def _data(self, words: dict[str, str]) -> None:
        if self._kind == "Parameter":
            shape = [part.strip() for part in words.get("shape", "").split(",")]
            self._given.append((words.get("element_type", ""), shape))
        if self._kind == "Const":
            begin, size = words.get("offset", ""), words.get("size", "")
            whole = begin.isdecimal() and size.isdecimal() and max(len(begin), len(size)) < 20
            if not whole or int(begin) + int(size) > self._weights:
                _refuse(self._path, f"{size!r} bytes at {begin!r} are not in its .bin of {self._weights}")
