"""File formats that a trained classifier can be exported to."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from transfer_cli.catalog.lookup import lookup
from transfer_cli.errors import MissingExtraError

KERAS = "keras"
SAVED_MODEL = "saved-model"
LITERT = "litert"
LITERT_INT8 = "litert-int8"
ONNX = "onnx"
OPENVINO = "openvino"
OPENVINO_INT8 = "openvino-int8"
ALL = "all"


@dataclass(frozen=True)
class ExportFormatSpec:
    """An export format.

    Attributes
    ----------
    name : str
    file : str
        Name of the file, or of the folder if it has no suffix.
    summary : str
        Where it is used.
    precision : {"f32", "int8"}
        Number format of the computation.
    modules : tuple of str
        Further packages that are imported to write and verify it.
    extra : str or None
        The extra that installs these packages, None if they are always installed.
    any_classifier : bool
        Whether it supports classifiers that are not linear.
    """

    name: str
    file: str
    summary: str
    precision: str = "f32"
    modules: tuple[str, ...] = ()
    extra: str | None = None
    any_classifier: bool = False

    @property
    def companions(self) -> tuple[str, ...]:
        """Further files that belong to `file`."""
        return (f"{self.file.removesuffix('.xml')}.bin",) if self.file.endswith(".xml") else ()

    @property
    def is_installed(self) -> bool:
        """Whether its packages are installed."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


_ROWS = (
    ExportFormatSpec(KERAS, "model.keras", "Keras 3: further training, Keras tools"),
    ExportFormatSpec(SAVED_MODEL, "saved_model", "TensorFlow and TensorFlow Serving"),
    ExportFormatSpec(
        LITERT, "model.tflite", "LiteRT (TensorFlow Lite): phones, single-board computers, browsers, CPUs"
    ),
    ExportFormatSpec(LITERT_INT8, "model-int8.tflite", "LiteRT with 8-bit integers: a third of the size", "int8"),
    ExportFormatSpec(
        ONNX,
        "model.onnx",
        "ONNX Runtime: servers, C++, C#, browsers; also non-linear classifiers",
        modules=("onnx", "onnxruntime"),
        extra="onnx",
        any_classifier=True,
    ),
    ExportFormatSpec(OPENVINO, "model.xml", "OpenVINO: Intel CPUs and GPUs", modules=("openvino",), extra="openvino"),
    ExportFormatSpec(
        OPENVINO_INT8, "model-int8.xml", "OpenVINO with 8-bit integers", "int8", ("openvino", "nncf"), "int8"
    ),
)
EXPORT_FORMATS = {row.name: row for row in _ROWS}


def find(name: str) -> ExportFormatSpec:
    """Return the row called `name`; raise UnknownNameError if there is none."""
    return lookup(EXPORT_FORMATS, "export format", name)


def check_installed(spec: ExportFormatSpec) -> None:
    """Raise MissingExtraError, with the command to install them, if packages of a format are missing."""
    if not spec.is_installed:
        raise MissingExtraError(
            f"The format {spec.name} needs {' and '.join(spec.modules)}, which are not all installed.",
            hint=f"Install them: pip install 'transfer-cli[{spec.extra}]'",
        )
