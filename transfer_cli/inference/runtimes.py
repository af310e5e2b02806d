"""The same network on Keras, LiteRT or OpenVINO: one function from pictures to rows, whatever runs it.

Nothing here imports TensorFlow: what was converted once runs without it.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.catalog import runtimes
from transfer_cli.catalog.runtimes import FEW
from transfer_cli.errors import ModelError
from transfer_cli.quiet_imports import native_stderr_kept, start_openvino
from transfer_cli.system import processors

Images = NDArray[np.uint8]
Rows = NDArray[np.float32]
Run = Callable[[Images], Rows]

LARGEST = 150_000_000
"""Networks of more parameters are left to Keras: the converter takes memory many times their size."""
WORTH_CONVERTING = 500
"""With fewer pictures the conversion takes longer than Keras does, see docs/benchmarks.md."""


def resolve(request: str, *, images: int, keeps_model: bool, parameters: int) -> str:
    """Return the runtime that ``auto`` stands for; any other word as it is.

    It depends on the device, the network and the number of pictures alone, never on what is in the cache, so that the
    same command gives the same numbers on every day.

    Parameters
    ----------
    request : str
        A name of the catalog or ``auto``.
    parameters : int
        Of the network, with its top.
    images : int
        How many there are to run.
    keeps_model : bool
        Whether the converted graph is kept in a bundle, where it is of use whatever the number.
    """
    if request != runtimes.AUTO:
        return request
    if has_gpu() or parameters > LARGEST or not runtimes.find(runtimes.LITERT).is_here:
        return runtimes.KERAS
    return runtimes.LITERT if keeps_model or images >= WORTH_CONVERTING else runtimes.KERAS


def has_gpu() -> bool:
    """Return whether TensorFlow would find a graphics card, without asking it: that costs its import.

    It needs a driver, and CUDA's libraries: those of the system or of TensorFlow's extra ``and-cuda``.
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
        Of a runtime that takes graphs.
    path : Path
    precision : {"f32", "bf16"}
        In what numbers it computes.
    size : int, optional
        Side of the pictures it must be made for; not looked at where it is not given.

    Returns
    -------
    callable
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k); n may change from call to call.

    Raises
    ------
    MissingExtraError
        When the runtime is not installed.
    ModelError
        When the file is no graph that it can run, or one for other pictures.
    """
    try:
        few = _OPENERS[name](path, precision, size)
    except ImportError as error:
        raise runtimes.missing(runtimes.find(name)) from error
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be opened by {name}: {error}.") from error
    return lambda images: np.concatenate([few(images[at : at + FEW]) for at in range(0, len(images), FEW)])


def _must_take(size: int | None, path: Path, takes: list[tuple[str, list[int]]]) -> None:
    """Raise ModelError where a graph takes anything but pictures of one size.

    Parameters
    ----------
    size : int or None
    path : Path
    takes : list of tuple
        Type and shape of each input, -1 where any length will do.
    """
    expected = ["uint8", [size, size, 3]]
    if size is not None and [[kind, shape[1:]] for kind, shape in takes] != [expected]:
        received = "; ".join(f"{kind} of shape {shape}" for kind, shape in takes)
        raise ModelError(f"{path} takes {received}. Expected pictures: uint8 of shape [n, {size}, {size}, 3].")


def _litert(path: Path, precision: str, size: int | None) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ai_edge_litert.interpreter import Interpreter

    with native_stderr_kept():
        interpreter = Interpreter(str(path), num_threads=processors())
    inputs = interpreter.get_input_details()
    takes = [(np.dtype(each["dtype"]).name, [int(side) for side in each["shape_signature"]]) for each in inputs]
    _must_take(size, path, takes)
    given = inputs[0]["index"]
    results = interpreter.get_output_details()
    if len(results) != 1:
        raise ModelError(f"{path} gives {len(results)} things. Expected one: a row a picture.")
    result = results[0]["index"]
    held = 0

    def few(images: Images) -> Rows:
        nonlocal held
        if len(images) != held:
            interpreter.resize_tensor_input(given, images.shape)
            # The first time it says which library does the work.
            with nullcontext() if held else native_stderr_kept():
                interpreter.allocate_tensors()
            held = len(images)
        interpreter.set_tensor(given, images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result), np.float32)

    return few


def _openvino(path: Path, precision: str, size: int | None) -> Run:
    openvino = start_openvino()
    words = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", words)
    _must_take(
        size,
        path,
        [
            (
                str(each.element_type.to_dtype().name),
                [int(side.get_length()) if side.is_static else -1 for side in each.partial_shape],
            )
            for each in compiled.inputs
        ],
    )

    def run(images: Images) -> Rows:
        return np.array(compiled(images)[0], np.float32)

    return run


_OPENERS: dict[str, Callable[[Path, str, int | None], Run]] = {runtimes.LITERT: _litert, runtimes.OPENVINO: _openvino}
