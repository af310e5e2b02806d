"""Run a converted graph on LiteRT or OpenVINO: a function from images to output rows, without importing TensorFlow."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from transfer_cli.catalog import runtimes
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.openvino import compile_for_cpu, read_network
from transfer_cli.inference.formats.signature import Images, Rows, Run, in_batches
from transfer_cli.quiet_imports import captured_native_stderr, import_openvino
from transfer_cli.system import cpu_count

MAX_CONVERTED_PARAMETERS = 150_000_000
"""Larger networks run on Keras: the converter needs many times their size in memory."""
MIN_IMAGES_TO_CONVERT = 500
"""For fewer images the conversion takes longer than it saves, see docs/benchmarks.md."""

_SIGNATURE = b"TFL3"


def resolve(request: str, *, images: int, keeps_model: bool, parameters: int) -> str:
    """Return the runtime to use for a request, which is ``auto`` or the name of a runtime.

    The result depends on device, network and number of images only, not on the content of the cache, so the same
    command always gives the same numbers.

    Parameters
    ----------
    request : str
    images : int
        Number of images to run.
    keeps_model : bool
        Whether the converted graph becomes part of a bundle; then it is useful for any number of images.
    parameters : int
        Of the network with its classification head.
    """
    if request != runtimes.AUTO:
        return request
    if has_gpu() or parameters > MAX_CONVERTED_PARAMETERS or not runtimes.find(runtimes.LITERT).is_installed:
        return runtimes.KERAS
    return runtimes.LITERT if keeps_model or images >= MIN_IMAGES_TO_CONVERT else runtimes.KERAS


def has_gpu() -> bool:
    """Return whether TensorFlow would find a GPU, without importing TensorFlow.

    This requires a driver, and the CUDA libraries of the system or of TensorFlow's extra ``and-cuda``.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or not Path("/dev/nvidiactl").exists():
        return False
    try:
        installed = importlib.util.find_spec("nvidia.cudnn") is not None
    except ModuleNotFoundError:
        installed = False
    return installed or ctypes.util.find_library("cudnn") is not None


def open_graph(name: str, path: Path, precision: str = "f32", *, size: int | None = None) -> Run:
    """Return a function that runs a converted graph.

    Parameters
    ----------
    name : str
        A runtime that takes graphs.
    path : Path
    precision : {"f32", "bf16"}
    size : int, optional
        Required side of the input in pixels; not checked by default.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k); n may differ from call to call.

    Raises
    ------
    MissingExtraError
        If the runtime is not installed.
    ModelError
        If the runtime cannot read the file, or the graph has another input.
    """
    _check_signature(name, path)
    try:
        open_batch = {runtimes.LITERT: _open_litert, runtimes.OPENVINO: _open_openvino}[name]
        return in_batches(open_batch(path, precision, size))
    except ImportError as error:
        raise runtimes.missing_package_error(runtimes.find(name)) from error
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be opened by {name}: {error}.") from error


def _check_signature(name: str, path: Path) -> None:
    """Raise ModelError unless a file starts like a LiteRT graph: OpenVINO would take another format by its content."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_SIGNATURE) + 4)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    if start[4:] != _SIGNATURE:
        raise ModelError(
            f"{path} cannot be opened by {name}: expected a LiteRT graph, which has {_SIGNATURE.decode()} in "
            f"its bytes 5 to 8. Received: {start!r}."
        )


def _check_inputs(size: int | None, path: Path, inputs: list[tuple[str, list[int]]]) -> None:
    """Raise ModelError unless the graph's only input is images of the required size.

    Parameters
    ----------
    size : int or None
    path : Path
    inputs : list of tuple
        Type and shape of each input; -1 is a dimension of any length.
    """
    expected = ["uint8", [size, size, 3]]
    if size is not None and [[kind, shape[1:]] for kind, shape in inputs] != [expected]:
        received = "; ".join(f"{kind} of shape {shape}" for kind, shape in inputs)
        raise ModelError(f"{path} has the input {received}. Expected images: uint8 of shape [n, {size}, {size}, 3].")


def _open_litert(path: Path, precision: str, size: int | None) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ai_edge_litert.interpreter import Interpreter

    with captured_native_stderr():
        interpreter = Interpreter(str(path), num_threads=cpu_count())
    details = interpreter.get_input_details()
    inputs = [(np.dtype(each["dtype"]).name, [int(side) for side in each["shape_signature"]]) for each in details]
    _check_inputs(size, path, inputs)
    input_index = details[0]["index"]
    results = interpreter.get_output_details()
    if len(results) != 1:
        raise ModelError(f"{path} has {len(results)} outputs. Expected one, with a row per image.")
    output_index = results[0]["index"]
    allocated = 0

    def run(images: Images) -> Rows:
        nonlocal allocated
        if len(images) != allocated:
            interpreter.resize_tensor_input(input_index, images.shape)
            # The first allocation writes the name of the delegate to stderr.
            with nullcontext() if allocated else captured_native_stderr():
                interpreter.allocate_tensors()
            allocated = len(images)
        interpreter.set_tensor(input_index, images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output_index), np.float32)

    return run


def _open_openvino(path: Path, precision: str, size: int | None) -> Run:
    openvino = import_openvino("openvino.frontend")
    compiled = compile_for_cpu(openvino, read_network(openvino, "tflite", path), precision)
    shapes = [[side.get_length() if side.is_static else -1 for side in each.partial_shape] for each in compiled.inputs]
    types = [each.element_type.to_dtype().name for each in compiled.inputs]
    _check_inputs(size, path, list(zip(types, shapes, strict=True)))
    return lambda images: np.array(compiled(images)[0], np.float32)
