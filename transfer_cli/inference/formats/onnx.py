"""Check ONNX files before ONNX Runtime opens them, and run them on the CPU. TensorFlow is not imported."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.inference.formats.signature import INPUT, OUTPUT, Run, check_side, in_batches
from transfer_cli.quiet_imports import captured_native_stderr
from transfer_cli.system import cpu_count

MAX_FILE_BYTES = 2**31 - 1
"""Maximum size of a protobuf message, and so of an ONNX file."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MAX_DEPTH = 4
"""Maximum nesting of subgraphs. Exported files have none."""
_REJECTED_OPERATIONS = ("Loop",)
"""Operations that may never end, and that transfer-cli does not write."""


def check_onnx(path: Path) -> int:
    """Check a file from an untrusted source before a runtime opens it, and return the side of its images in pixels.

    Rejected are weights in other files, operations and functions outside the ONNX standard, loops, and any signature
    but one uint8 input of images and one float32 output.

    Raises
    ------
    ModelError
        When the file fails a check; the message names it.
    MissingExtraError
        When the package onnx is not installed.
    """
    model = _read(path)
    if reason := next(_faults(model), None):
        raise ModelError(f"{path} was rejected before it was run: {reason}.")
    return int(_signature(model.graph.input[0])[2][2])


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata properties of a file; raise ModelError when it is not an ONNX file."""
    return {entry.key: entry.value for entry in _read(path).metadata_props}


def open_onnx(path: Path, *, size: int | None = None) -> Run:
    """Check a file with `check_onnx` and return a function that runs it on the CPU.

    Parameters
    ----------
    path : Path
    size : int, optional
        Required side of the input in pixels; not checked by default.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k), for any n.

    Raises
    ------
    ModelError
        When the file fails a check, or ONNX Runtime cannot open it.
    MissingExtraError
        When onnx or onnxruntime is not installed.
    """
    onnxruntime = import_package("onnxruntime")
    check_side(path, size, check_onnx(path))
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_count()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        with captured_native_stderr():
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a class per status code
        raise ModelError(f"{path} cannot be opened by ONNX Runtime: {error}.") from error
    return in_batches(lambda images: session.run([OUTPUT], {INPUT: images})[0])


def import_package(name: str) -> Any:
    """Import a package of the extra ``onnx``; if it is missing, MissingExtraError tells how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"The format onnx needs the package {name}, which is not installed.",
            hint="Install it: pip install 'transfer-cli[onnx]'.",
        ) from error


def _read(path: Path) -> Any:
    onnx = import_package("onnx")
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ModelError(f"{path} was rejected: it has {size:,} bytes; the maximum of an ONNX file is 2 GB.")
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"{path} could not be read: {error.strerror or error}.") from error
    except ModelError:
        raise
    except Exception as error:  # protobuf has errors of its own
        raise ModelError(f"{path} is not a valid ONNX file: {error}.") from error


def _faults(model: Any) -> Iterator[str]:
    if model.functions or model.training_info:
        yield "it contains functions or training information"
    if not model.graph.node:
        yield "it contains no graph"
    for opset in model.opset_import:
        if opset.domain not in _DOMAINS:
            yield f"it needs operations of the domain {opset.domain!r}, which is not part of ONNX"
    yield from _faults_of_graph(model.graph, 0)
    yield from _faults_of_signature(model.graph)


def _faults_of_graph(graph: Any, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        yield f"its subgraphs are nested more than {_MAX_DEPTH} deep"
        return
    if graph.sparse_initializer:
        yield "it contains sparse weights"
    yield from _faults_of_tensors(graph.initializer)
    for node in graph.node:
        if node.domain not in _DOMAINS:
            yield f"its node {node.name!r} is a {node.op_type} of the domain {node.domain!r}, which is not part of ONNX"
        if node.op_type in _REJECTED_OPERATIONS:
            yield f"its node {node.name!r} is a {node.op_type}, which may run forever"
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield "it contains sparse weights"
            yield from _faults_of_tensors([attribute.t] if attribute.HasField("t") else [])
            yield from _faults_of_tensors(attribute.tensors)
            for subgraph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _faults_of_graph(subgraph, depth + 1)


def _faults_of_tensors(tensors: Any) -> Iterator[str]:
    for tensor in tensors:
        if tensor.external_data or tensor.data_location:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "unnamed")
            yield f"its weights {tensor.name!r} are in another file ({location})"


def _faults_of_signature(graph: Any) -> Iterator[str]:
    import onnx

    types = onnx.TensorProto
    match [_signature(value) for value in graph.input]:
        case [(name, types.UINT8, (str(), int(height), int(width), 3))] if name == INPUT and height == width > 0:
            pass
        case _:
            yield f"expected one input {INPUT}, uint8 of shape (n, size, size, 3); received: {_summary(graph.input)}"
    match [_signature(value) for value in graph.output]:
        case [(name, types.FLOAT, (_, _))] if name == OUTPUT:
            pass
        case _:
            yield f"expected one output {OUTPUT}, float32 of shape (n, k); received: {_summary(graph.output)}"


def _signature(value: Any) -> tuple[str, int, tuple[int | str, ...]]:
    """Return the name, data type and shape of an input or output; a free dimension is a str."""
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim)
    return value.name, tensor.elem_type, shape


def _summary(values: Any) -> str:
    import onnx

    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    signatures = [_signature(value) for value in values]
    return "; ".join(f"{name}, {names.get(dtype, dtype)} of {shape}" for name, dtype, shape in signatures) or "none"
