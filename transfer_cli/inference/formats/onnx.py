"""ONNX files are looked through before ONNX Runtime opens them, and run on a processor.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.quiet_imports import native_stderr_kept
from transfer_cli.system import processors

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]

LARGEST = 2**31 - 1
"""Bytes of a file: what protobuf can hold."""
FEW = 4
"""Pictures at a time, as for the other runtimes (see runtimes.FEW)."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_DEEPEST = 4
"""Graphs within graphs; the classifiers that need any have one."""
_NEVER_ENDING = ("Loop",)
"""What may run for ever, and nothing that is written here has."""


def check_onnx(path: Path, *, output: str = OUTPUT) -> None:
    """Look through a file that somebody else may have made, before a runtime opens it.

    A graph may name other files as the place of its weights, operations of libraries that are loaded, and functions
    that call each other; none of them has a use in what is written here.

    Parameters
    ----------
    path : Path
    output : str
        What its rows are called.

    Raises
    ------
    ModelError
        When it is no such graph; the message says why.
    MissingExtraError
        When the package onnx is not installed.
    """
    model = _read(path)
    if reason := next(_faults(model, output), None):
        raise ModelError(f"{path} was refused, and nothing of it was run: {reason}.")


def metadata_of(path: Path) -> dict[str, str]:
    """Return what a file says of itself beside its graph; raise ModelError when it is none."""
    return {entry.key: entry.value for entry in _read(path).metadata_props}


def open_onnx(path: Path, *, output: str = OUTPUT) -> Any:
    """Return a function that runs a file on the processor, after `check_onnx` has looked through it.

    Parameters
    ----------
    path : Path
    output : str
        What its rows are called.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k); n may change from call to call.

    Raises
    ------
    ModelError
        When it is refused, or is no graph that can be run.
    MissingExtraError
        When a package of the extra is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime") from error
    check_onnx(path, output=output)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processors()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        with native_stderr_kept():
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # one kind for each of its status codes
        raise ModelError(f"{path} cannot be opened by ONNX Runtime: {error}.") from error

    def run(images: Images) -> Rows:
        parts = (images[at : at + FEW] for at in range(0, len(images), FEW))
        return np.concatenate([session.run([output], {INPUT: part})[0] for part in parts])

    return run


def missing(package: str) -> MissingExtraError:
    """Return the error that says how to install what the format needs."""
    return MissingExtraError(
        f"The format onnx needs the package {package}, which is not installed.",
        hint="Install it: pip install 'transfer-cli[onnx]'.",
    )


def _read(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx") from error
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ModelError(f"{path} was refused: it has {size:,} bytes, and an ONNX file has 2 GB at most.")
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path} could not be read: {error.strerror or error}.") from error
    except ModelError:
        raise
    except Exception as error:  # protobuf's own kinds
        raise ModelError(f"{path} is not an ONNX file that can be read: {error}.") from error


def _faults(model: Any, output: str) -> Iterator[str]:
    if model.functions or model.training_info:
        yield "it holds functions or training steps of its own"
    if not model.graph.node:
        yield "it holds no graph"
    for opset in model.opset_import:
        if opset.domain not in _DOMAINS:
            yield f"it needs operations of {opset.domain!r}, which are none of ONNX's own"
    yield from _faults_of_graph(model.graph, 0)
    yield from _faults_of_signature(model.graph, output)


def _faults_of_graph(graph: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        yield f"it holds graphs within graphs, more than {_DEEPEST} deep"
        return
    if graph.sparse_initializer:
        yield "it holds sparse weights"
    yield from _faults_of_tensors(graph.initializer)
    for node in graph.node:
        if node.domain not in _DOMAINS:
            yield f"its node {node.name!r} is a {node.op_type} of {node.domain!r}, which is none of ONNX's own"
        if node.op_type in _NEVER_ENDING:
            yield f"its node {node.name!r} is a {node.op_type}, which need not end"
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield "it holds sparse weights"
            yield from _faults_of_tensors([attribute.t] if attribute.HasField("t") else [])
            yield from _faults_of_tensors(attribute.tensors)
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _faults_of_graph(inner, depth + 1)


def _faults_of_tensors(tensors: Any) -> Iterator[str]:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "elsewhere")
            yield f"its weights {tensor.name!r} are in another file ({place})"


def _faults_of_signature(graph: Any, output: str) -> Iterator[str]:
    import onnx

    given, rows = [_described(value) for value in graph.input], [_described(value) for value in graph.output]
    sides = given[0][2][1:] if given else ()
    is_ours = (
        len(given) == 1
        and given[0][:2] == (INPUT, onnx.TensorProto.UINT8)
        and len(sides) == 3
        and isinstance(given[0][2][0], str)
        and sides[0] == sides[1]
        and isinstance(sides[0], int)
        and sides[0] > 0
        and sides[2] == 3
    )
    if not is_ours:
        yield f"expected one input {INPUT}, uint8 of shape (n, size, size, 3); received: {_in_words(graph.input)}"
    if not (len(rows) == 1 and rows[0][:2] == (output, onnx.TensorProto.FLOAT) and len(rows[0][2]) == 2):
        yield f"expected one output {output}, float32 of shape (n, k); received: {_in_words(graph.output)}"


def _described(value: Any) -> tuple[str, int, tuple[int | str, ...]]:
    """Return the name, the type and the shape of an input or output; a free length is a str."""
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim)
    return value.name, tensor.elem_type, shape


def _in_words(values: Any) -> str:
    import onnx

    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    described = [_described(value) for value in values]
    return "; ".join(f"{name}, {names.get(kind, kind)} of {shape}" for name, kind, shape in described) or "none"
