"""Write each format with its metadata and digest: one function per row of catalog.export_formats."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from transfer_cli.catalog import export_formats
from transfer_cli.export.export_images import ExportImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.inference.exported_model import SAVED_MODEL_METADATA
from transfer_cli.inference.formats.embedded_digest import embed_digest
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.names import LABELS_FILE, METADATA_FILE

_PENDING_DIGEST = "f" * 64
"""Placeholder for the digest of a companion file that is not written yet."""


def _write_keras(model: ExportableModel, path: Path, images: ExportImages) -> None:
    from transfer_cli.inference.formats.zip_metadata import add_metadata

    model.network.save(path)
    add_metadata(path, model.metadata(export_formats.KERAS))
    embed_digest(path)


def _write_saved_model(model: ExportableModel, path: Path, images: ExportImages) -> None:
    from transfer_cli.export.saved_model import write_saved_model

    metadata = model.metadata(export_formats.SAVED_MODEL)
    labels = metadata.labels_text.encode("utf-8", "surrogateescape")
    write_saved_model(model.network, path, {METADATA_FILE: b"{}", LABELS_FILE: labels})
    files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / SAVED_MODEL_METADATA)
    digests = {file.relative_to(path).as_posix(): digest_of_file(file).sha256 for file in files}
    (path / SAVED_MODEL_METADATA).write_text(metadata.model_copy(update={"files": digests}).json_text())
    embed_digest(path / SAVED_MODEL_METADATA)


def _write_litert(model: ExportableModel, path: Path, images: ExportImages) -> None:
    shutil.copyfile(model.graph, path)
    _add_litert_metadata(path, model.metadata(export_formats.LITERT))


def _write_litert_int8(model: ExportableModel, path: Path, images: ExportImages) -> None:
    from transfer_cli.export.litert.int8 import write_litert_int8

    write_litert_int8(model.network, images.calibration, path)
    _add_litert_metadata(path, model.metadata(export_formats.LITERT_INT8))


def _add_litert_metadata(path: Path, metadata: ExportMetadata) -> None:
    from transfer_cli.export.litert.metadata import with_metadata

    path.write_bytes(with_metadata(path.read_bytes(), metadata))
    embed_digest(path)


def _write_onnx(model: ExportableModel, path: Path, images: ExportImages) -> None:
    model.write_onnx(path, model.metadata(export_formats.ONNX))
    embed_digest(path)


def _write_openvino(model: ExportableModel, path: Path, images: ExportImages) -> None:
    from transfer_cli.export.openvino import write_openvino

    metadata = _openvino_metadata(model, export_formats.OPENVINO)
    write_openvino(model.graph, path, _model_info(metadata))
    _embed_digests(path, metadata)


def _write_openvino_int8(model: ExportableModel, path: Path, images: ExportImages) -> None:
    from transfer_cli.export.openvino import write_openvino_int8

    metadata = _openvino_metadata(model, export_formats.OPENVINO_INT8)
    write_openvino_int8(model.graph, model.bundle.image_size, images.calibration, path, _model_info(metadata))
    _embed_digests(path, metadata)


def _model_info(metadata: ExportMetadata) -> dict[str, str]:
    # OpenVINO's own tools expect labels separated by spaces.
    labels = " ".join("_".join(name.split()) for name in metadata.class_names)
    return {"model_type": "Classification", "labels": labels, METADATA_FILE: metadata.json_text()}


def _openvino_metadata(model: ExportableModel, format: str) -> ExportMetadata:
    """Return metadata with a placeholder for the digest of the .bin, which is not written yet."""
    companions = export_formats.find(format).companions
    return model.metadata(format).model_copy(update={"files": dict.fromkeys(companions, _PENDING_DIGEST)})


def _embed_digests(path: Path, metadata: ExportMetadata) -> None:
    content = path.read_bytes()
    for name in metadata.files:
        content = content.replace(_PENDING_DIGEST.encode(), digest_of_file(path.parent / name).sha256.encode())
    path.write_bytes(content)
    embed_digest(path)


WRITERS: dict[str, Callable[[ExportableModel, Path, ExportImages], None]] = {
    export_formats.KERAS: _write_keras,
    export_formats.SAVED_MODEL: _write_saved_model,
    export_formats.LITERT: _write_litert,
    export_formats.LITERT_INT8: _write_litert_int8,
    export_formats.ONNX: _write_onnx,
    export_formats.OPENVINO: _write_openvino,
    export_formats.OPENVINO_INT8: _write_openvino_int8,
}
