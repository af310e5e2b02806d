"""Exported files read again: verified first, then what they say of themselves, then what runs them.

Nothing here imports TensorFlow but for a file of Keras.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from transfer_cli.catalog import export_formats, runtimes
from transfer_cli.errors import ModelError
from transfer_cli.inference.formats import embedded_digest
from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.inference.formats.zip_metadata import facts_in
from transfer_cli.inference.runtimes import Run, open_graph
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.names import FACTS

SAVED_FACTS = Path("assets") / FACTS
"""Where a SavedModel keeps them: files of its own lie there."""


def is_exported(path: Path) -> bool:
    """Return whether `path` has the name of an exported file, or is a SavedModel; a run may have any name."""
    return (path / "saved_model.pb").is_file() if path.is_dir() else path.suffix.lower() in _FACTS


def facts_of(path: Path) -> ExportedFacts:
    """Return what an exported file says of itself, once it and what belongs to it were found to be whole.

    Raises
    ------
    ModelError
        When it was altered, or written by something else, or is not there.
    """
    if not path.exists():
        raise ModelError(f"There is no file {path}.")
    if path.is_dir():
        return _of_saved_model(path)
    embedded_digest.must_be_whole(path)
    facts = _FACTS[path.suffix.lower()](path)
    spec = export_formats.EXPORTERS.get(facts.format)
    if spec is None or Path(spec.file).suffix != path.suffix.lower():
        raise ModelError(f"{path} says that it is of the format {facts.format[:80]!r}, which has not this suffix.")
    if sorted(Path(name).suffix for name in spec.companions) != sorted(Path(name).suffix for name in facts.files):
        raise ModelError(f"{path} does not name the files that belong to it.")
    # A runtime looks for them by the name of the file, whatever that is now.
    beside = {path.with_suffix(Path(name).suffix).name: digest for name, digest in facts.files.items()}
    _must_fit(beside, path.parent)
    return facts


def open_exported(path: Path, facts: ExportedFacts) -> Run:
    """Return what runs an exported file in its own runtime: uint8 pictures to float32 probabilities.

    Raises
    ------
    ModelError
        When it is one that is not to be opened here.
    """
    if path.is_dir():
        raise ModelError(
            f"{path} is a SavedModel, which may read and write files when it runs, so that predict opens none.",
            hint="Predict by the run, or by another format; docs/export.md shows a client for this one.",
        )
    return _OPENERS[path.suffix.lower()](path, facts.image_size)


def _of_onnx(path: Path) -> ExportedFacts:
    _must_have(export_formats.ONNX)

    from transfer_cli.inference.formats.onnx import metadata_of

    return _of_metadata(metadata_of(path), path)


def _of_openvino(path: Path) -> ExportedFacts:
    _must_have(export_formats.OPENVINO)

    from transfer_cli.inference.formats.openvino import about_of

    return _of_metadata(about_of(path), path)


def _of_saved_model(path: Path) -> ExportedFacts:
    embedded_digest.must_be_whole(path / SAVED_FACTS)
    facts = ExportedFacts.of_json((path / SAVED_FACTS).read_bytes(), path / SAVED_FACTS)
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    if strange := found - facts.files.keys() - {SAVED_FACTS.as_posix()}:
        raise ModelError(f"{path} holds {min(strange)}, which does not belong to it.")
    _must_fit(facts.files, path)
    return facts


def _of_metadata(words: Mapping[str, str], path: Path) -> ExportedFacts:
    if FACTS not in words:
        raise ModelError(f"{path} does not say what it is: it was not written by transfer-cli export.")
    return ExportedFacts.of_json(words[FACTS], path)


def _must_fit(digests: Mapping[str, str], folder: Path) -> None:
    for name, digest in digests.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"A file outside of {folder} is named: {json.dumps(name)}.")
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"{path} is missing. Copy what belongs together.")
        if digest_of_file(path).sha256 != digest:
            raise ModelError(f"{path} was altered: its digest is another.", hint="Copy it again, or export it anew.")


def _must_have(format: str) -> None:
    export_formats.must_be_here(export_formats.find(format))


def _open_litert(path: Path, size: int) -> Run:
    return open_graph(runtimes.LITERT, path, size=size)


def _open_onnx(path: Path, size: int) -> Run:
    from transfer_cli.inference.formats.onnx import open_onnx

    run: Run = open_onnx(path)
    return run


def _open_openvino(path: Path, size: int) -> Run:
    from transfer_cli.inference.formats.openvino import open_openvino

    return open_openvino(path)


def _open_keras(path: Path, size: int) -> Run:
    from transfer_cli.quiet_imports import start_tensorflow

    start_tensorflow()
    from transfer_cli.models.compile import inference_function
    from transfer_cli.models.keras_file import load_keras

    given: Run = inference_function(load_keras(path))
    return given


_FACTS: dict[str, Callable[[Path], ExportedFacts]] = {
    ".tflite": facts_in,
    ".onnx": _of_onnx,
    ".xml": _of_openvino,
    ".keras": facts_in,
}
_OPENERS: dict[str, Callable[[Path, int], Run]] = {
    ".tflite": _open_litert,
    ".onnx": _open_onnx,
    ".xml": _open_openvino,
    ".keras": _open_keras,
}
