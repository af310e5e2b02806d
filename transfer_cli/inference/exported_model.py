"""Read and run exported files: verify digest and metadata, then open the file in its own runtime.

Only a Keras file imports TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from transfer_cli.catalog import export_formats, runtimes
from transfer_cli.errors import MissingModelError, ModelError
from transfer_cli.inference.formats import embedded_digest, onnx, openvino, zip_metadata
from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.inference.formats.signature import Run, check_side
from transfer_cli.inference.runtimes import open_graph
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.names import METADATA_FILE
from transfer_cli.quiet_imports import import_tensorflow

_SUFFIXES = (".tflite", ".onnx", ".xml", ".keras")
SAVED_MODEL_METADATA = Path("assets") / METADATA_FILE
"""The place of the metadata in a SavedModel, which stores additional files there."""


def is_exported(path: Path) -> bool:
    """Return whether `path` has the suffix of an exported file, or is a SavedModel."""
    return (path / "saved_model.pb").is_file() if path.is_dir() else path.suffix.lower() in _SUFFIXES


def exported_metadata(path: Path) -> ExportMetadata:
    """Return the metadata of an exported file, after verifying the file and its companions.

    Raises
    ------
    ModelError
        If it is missing or altered, or another program wrote it.
    """
    if not path.exists():
        raise MissingModelError.of("exported model", path)
    if path.is_dir():
        return _saved_model_metadata(path)
    embedded_digest.check_digest(path)
    metadata = _read_metadata(path)
    spec = export_formats.EXPORT_FORMATS.get(metadata.format)
    if spec is None or Path(spec.file).suffix != path.suffix.lower():
        raise ModelError(f"{path} has the wrong suffix for its format {metadata.format[:80]!r}.")
    if sorted(Path(name).suffix for name in spec.companions) != sorted(Path(name).suffix for name in metadata.files):
        raise ModelError(f"The metadata of {path} does not list the files that its format consists of.")
    # A runtime finds companions by the name of the file, which may have been renamed.
    companions = {path.with_suffix(Path(name).suffix).name: digest for name, digest in metadata.files.items()}
    _verify_files(companions, path.parent)
    return metadata


def open_exported(path: Path, metadata: ExportMetadata) -> Run:
    """Return a function from uint8 images to float32 probabilities that runs an exported file in its own runtime.

    Raises
    ------
    ModelError
        If it is a SavedModel, which could execute code.
    """
    if path.is_dir():
        raise ModelError(
            f"{path} is a SavedModel. A SavedModel may read and write files when it runs, so predict does not open it.",
            hint="Predict with the run or another export format; docs/export.md has a client for SavedModel.",
        )
    match path.suffix.lower():
        case ".onnx":
            return onnx.open_onnx(path, size=metadata.image_size)
        case ".xml":
            return openvino.open_openvino(path, size=metadata.image_size)
        case ".tflite":
            return open_graph(runtimes.LITERT, path, size=metadata.image_size)
    import_tensorflow()
    from transfer_cli.models.compile import inference_function
    from transfer_cli.models.keras_file import load_keras

    network = load_keras(path)
    check_side(path, metadata.image_size, network.input_shape[1])
    run: Run = inference_function(network)
    return run


def _read_metadata(path: Path) -> ExportMetadata:
    match path.suffix.lower():
        case ".onnx":
            export_formats.check_installed(export_formats.find(export_formats.ONNX))
            entries = onnx.read_metadata(path)
        case ".xml":
            export_formats.check_installed(export_formats.find(export_formats.OPENVINO))
            entries = openvino.read_model_info(path)
        case _:
            return zip_metadata.read_metadata(path)
    if METADATA_FILE not in entries:
        raise ModelError(f"{path} has no transfer-cli metadata: transfer-cli export did not write it.")
    return ExportMetadata.from_json(entries[METADATA_FILE], path)


def _saved_model_metadata(path: Path) -> ExportMetadata:
    embedded_digest.check_digest(path / SAVED_MODEL_METADATA)
    metadata = ExportMetadata.from_json((path / SAVED_MODEL_METADATA).read_bytes(), path / SAVED_MODEL_METADATA)
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    if unlisted := files - metadata.files.keys() - {SAVED_MODEL_METADATA.as_posix()}:
        raise ModelError(f"{path} contains {min(unlisted)}, which is not part of the export. Use an unaltered copy.")
    _verify_files(metadata.files, path)
    return metadata


def _verify_files(digests: Mapping[str, str], folder: Path) -> None:
    for name, digest in digests.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"The metadata names a file outside the folder {folder}: {json.dumps(name)}.")
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"{path} is missing. Copy all files of the export together.")
        if digest_of_file(path).sha256 != digest:
            raise ModelError(f"{path} was altered: its SHA-256 differs.", hint="Copy it again, or export it again.")
