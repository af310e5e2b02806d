"""What a finished classifier can be written as, one row a format."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from transfer_cli.errors import MissingExtraError, UnknownNameError

KERAS = "keras"
SAVED_MODEL = "saved-model"
LITERT = "litert"
LITERT_INT8 = "litert-int8"
ONNX = "onnx"
OPENVINO = "openvino"
OPENVINO_INT8 = "openvino-int8"
ALL = "all"


@dataclass(frozen=True)
class ExporterSpec:
    """What the catalog knows of a format.

    Attributes
    ----------
    name : str
    file : str
        What is written: a file, or a folder where it has no suffix.
    precision : {"f32", "int8"}
        In what numbers it computes.
    modules : tuple of str
        What is imported of other packages to write it and to try it.
    extra : str or None
        The extra that brings them, if they do not come with the program.
    any_classifier : bool
        Whether it can hold what is not linear behind the network.
    summary : str
        Where it is used.
    """

    name: str
    file: str
    precision: str
    modules: tuple[str, ...]
    extra: str | None
    any_classifier: bool
    summary: str

    @property
    def companions(self) -> tuple[str, ...]:
        """The files that belong to the first."""
        return (f"{self.file.removesuffix('.xml')}.bin",) if self.file.endswith(".xml") else ()

    @property
    def is_here(self) -> bool:
        """Whether the packages it needs are installed."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


_ROWS = (
    ExporterSpec(KERAS, "model.keras", "f32", (), None, False, "Keras 3: further training, other tools of Keras"),
    ExporterSpec(
        SAVED_MODEL, "saved_model", "f32", (), None, False, "TensorFlow and TensorFlow Serving; takes JPEG and PNG, too"
    ),
    ExporterSpec(
        LITERT, "model.tflite", "f32", (), None, False, "LiteRT (TensorFlow Lite): phones, boards, browsers, processors"
    ),
    ExporterSpec(
        LITERT_INT8, "model-int8.tflite", "int8", (), None, False, "LiteRT in whole numbers: a third of the size"
    ),
    ExporterSpec(
        ONNX,
        "model.onnx",
        "f32",
        ("onnx", "onnxruntime"),
        "onnx",
        True,
        "ONNX Runtime: servers, C++, C#, browsers; takes every classifier that ONNX has",
    ),
    ExporterSpec(
        OPENVINO, "model.xml", "f32", ("openvino",), "openvino", False, "OpenVINO: processors and graphics of Intel"
    ),
    ExporterSpec(
        OPENVINO_INT8, "model-int8.xml", "int8", ("openvino", "nncf"), "int8", False, "OpenVINO in whole numbers"
    ),
)
EXPORTERS = {row.name: row for row in _ROWS}


def names() -> list[str]:
    """Return the names of all formats."""
    return list(EXPORTERS)


def find(name: str) -> ExporterSpec:
    """Return the row called `name`; raise UnknownNameError where there is none."""
    if name not in EXPORTERS:
        raise UnknownNameError.of("format", name, EXPORTERS, f"Expected one of {', '.join(EXPORTERS)}.")
    return EXPORTERS[name]


def must_be_here(spec: ExporterSpec) -> None:
    """Raise MissingExtraError, with the line that installs it, unless what a format needs is installed."""
    if not spec.is_here:
        raise MissingExtraError(
            f"The format {spec.name} needs {' and '.join(spec.modules)}, which are not all installed.",
            hint=f"Install them: pip install 'transfer-cli[{spec.extra}]'",
        )
