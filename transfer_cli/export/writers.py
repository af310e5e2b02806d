"""Write each format with its metadata and digest."""

from __future__ import annotations

import shutil
from pathlib import Path

from transfer_cli.catalog import export_formats
from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.export.export_images import ExportImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.inference.exported_model import SAVED_MODEL_METADATA
from transfer_cli.inference.formats.embedded_digest import embed_digest
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.inference.formats.zip_metadata import add_metadata
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.names import LABELS_FILE, METADATA_FILE

_PENDING_DIGEST = "f" * 64
"""Placeholder for the digest of a companion file that is not written yet."""


def write(model: ExportableModel, spec: ExportFormatSpec, path: Path, images: ExportImages) -> None:
    """Write a model in a format to `path`, and its companions beside it; int8 is calibrated on training images."""
    # The digests of the companions, which are not written yet, have a placeholder.
    pending = dict.fromkeys(spec.companions, _PENDING_DIGEST)
    metadata = model.metadata(spec.name).model_copy(update={"files": pending})
    match spec.name:
        case export_formats.KERAS:
            from transfer_cli.models.keras_file import save_keras

            save_keras(model.network, path)
            add_metadata(path, metadata)
        case export_formats.SAVED_MODEL:
            _write_saved_model(model, path, metadata)
            path /= SAVED_MODEL_METADATA
        case export_formats.LITERT:
            shutil.copyfile(model.graph, path)
            _add_litert_metadata(path, metadata)
        case export_formats.LITERT_INT8:
            from transfer_cli.export.litert.int8 import write_litert_int8

            write_litert_int8(model.network, images.calibration, path)
            _add_litert_metadata(path, metadata)
        case export_formats.ONNX:
            model.write_onnx(path, metadata)
        case export_formats.OPENVINO | export_formats.OPENVINO_INT8:
            from transfer_cli.export.openvino import write_openvino

            calibration = images.calibration if spec.precision == "int8" else None
            write_openvino(model.graph, path, _model_info(metadata), calibration)
    if pending:
        content = path.read_bytes()
        for name in pending:
            content = content.replace(_PENDING_DIGEST.encode(), digest_of_file(path.parent / name).sha256.encode())
        path.write_bytes(content)
    embed_digest(path)


def _write_saved_model(model: ExportableModel, path: Path, metadata: ExportMetadata) -> None:
    from transfer_cli.export.saved_model import write_saved_model

    labels = metadata.labels_text.encode("utf-8", "surrogateescape")
    write_saved_model(model.network, path, {METADATA_FILE: b"{}", LABELS_FILE: labels})
    files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / SAVED_MODEL_METADATA)
    digests = {file.relative_to(path).as_posix(): digest_of_file(file).sha256 for file in files}
    (path / SAVED_MODEL_METADATA).write_text(metadata.model_copy(update={"files": digests}).json_text())


def _add_litert_metadata(path: Path, metadata: ExportMetadata) -> None:
    from transfer_cli.export.litert.metadata import with_metadata

    path.write_bytes(with_metadata(path.read_bytes(), metadata))


def _model_info(metadata: ExportMetadata) -> dict[str, str]:
    # OpenVINO's own tools expect labels separated by spaces.
    labels = " ".join("_".join(name.split()) for name in metadata.class_names)
    return {"model_type": "Classification", "labels": labels, METADATA_FILE: metadata.json_text()}
