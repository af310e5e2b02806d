"""Check ONNX files before ONNX Runtime opens them, and run them on the CPU. TensorFlow is not imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog.runtimes import RUNTIME_BATCH
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.quiet_imports import captured_native_stderr
from transfer_cli.system import cpu_count

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]

MAX_FILE_BYTES = 2**31 - 1
"""Maximum size of a protobuf message, and so of an ONNX file."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MAX_DEPTH = 4
"""Maximum nesting of subgraphs. Exported files have none."""
_REJECTED_OPERATIONS = ("Loop",)
"""Operations that may never end, and that transfer-cli does not write."""


def check_onnx(path: Path, *, output: str = OUTPUT) -> None:
    """Check a file from an untrusted source before a runtime opens it.

    Rejected are weights in other files, operations and functions outside the ONNX standard, loops, and any signature
    but one uint8 input of images and one float32 output.

    Parameters
    ----------
    path : Path
    output : str
        Expected name of the output.

    Raises
    ------
    ModelError
        When the file fails a check; the message names it.
    MissingExtraError
        When the package onnx is not installed.
    """
    model = _read(path)
    if reason := next(_faults(model, output), None):
        raise ModelError(f"{path} was rejected before it was run: {reason}.")


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata properties of a file; raise ModelError when it is not an ONNX file."""
    return {entry.key: entry.value for entry in _read(path).metadata_props}


def open_onnx(path: Path, *, output: str = OUTPUT) -> Callable[[Images], Rows]:
    """Check a file with `check_onnx` and return a function that runs it on the CPU.

    Parameters
    ----------
    path : Path
    output : str
        Name of the output.

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
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnxruntime") from error
    check_onnx(path, output=output)
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

    def run(images: Images) -> Rows:
        batches = (images[start : start + RUNTIME_BATCH] for start in range(0, len(images), RUNTIME_BATCH))
        return np.concatenate([session.run([output], {INPUT: batch})[0] for batch in batches])

    return run


def missing_package(package: str) -> MissingExtraError:
    """Return the error that tells how to install a package of the extra ``onnx``."""
    return MissingExtraError(
        f"The format onnx needs the package {package}, which is not installed.",
        hint="Install it: pip install 'transfer-cli[onnx]'.",
    )


def _read(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing_package("onnx") from error
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


def _faults(model: Any, output: str) -> Iterator[str]:
    if model.functions or model.training_info:
        yield "it contains functions or training information"
    if not model.graph.node:
        yield "it contains no graph"
    for opset in model.opset_import:
        if opset.domain not in _DOMAINS:
            yield f"it needs operations of the domain {opset.domain!r}, which is not part of ONNX"
    yield from _faults_of_graph(model.graph, 0)
    yield from _faults_of_signature(model.graph, output)


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


def _faults_of_signature(graph: Any, output: str) -> Iterator[str]:
    import onnx

    inputs, outputs = [_signature(value) for value in graph.input], [_signature(value) for value in graph.output]
    sides = inputs[0][2][1:] if inputs else ()
    has_image_input = (
        len(inputs) == 1
        and inputs[0][:2] == (INPUT, onnx.TensorProto.UINT8)
        and len(sides) == 3
        and isinstance(inputs[0][2][0], str)
        and sides[0] == sides[1]
        and isinstance(sides[0], int)
        and sides[0] > 0
        and sides[2] == 3
    )
    if not has_image_input:
        yield f"expected one input {INPUT}, uint8 of shape (n, size, size, 3); received: {_summary(graph.input)}"
    if not (len(outputs) == 1 and outputs[0][:2] == (output, onnx.TensorProto.FLOAT) and len(outputs[0][2]) == 2):
        yield f"expected one output {output}, float32 of shape (n, k); received: {_summary(graph.output)}"


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
