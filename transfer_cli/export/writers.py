"""Each format written as a file that says what it is: a row of the table for a row of catalog/exporters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from transfer_cli.catalog import export_formats
from transfer_cli.catalog.export_formats import ExporterSpec
from transfer_cli.export.calibration_images import ComparisonImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.inference.exported_model import SAVED_FACTS
from transfer_cli.inference.formats import embedded_digest
from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.names import FACTS, LABELS

_LATER = "f" * 64
"""What stands for a digest that is not known before the file is written."""


def _keras(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    from transfer_cli.inference.formats.zip_metadata import add_facts

    subject.network.save(path)
    add_facts(path, subject.to_dict(export_formats.KERAS))
    embedded_digest.seal(path)


def _saved_model(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    from transfer_cli.export.saved_model.writer import write_saved_model

    facts = subject.to_dict(export_formats.SAVED_MODEL)
    write_saved_model(
        subject.network,
        path,
        size=subject.bundle.image_size,
        resize=subject.bundle.resize,
        assets={FACTS: b"{}", LABELS: facts.labels_text.encode("utf-8", "surrogateescape")},
    )
    files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / SAVED_FACTS)
    digests = {file.relative_to(path).as_posix(): digest_of_file(file).sha256 for file in files}
    (path / SAVED_FACTS).write_text(facts.model_copy(update={"files": digests}).json_text())
    embedded_digest.seal(path / SAVED_FACTS)


def _litert(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    shutil.copyfile(subject.graph, path)
    _say_what_it_is(subject, path, export_formats.LITERT)


def _litert_int8(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    from transfer_cli.export.litert.int8 import write_litert_int8

    write_litert_int8(subject.network, at_hand.calibration, path)
    _say_what_it_is(subject, path, export_formats.LITERT_INT8)


def _say_what_it_is(subject: ExportableModel, path: Path, format: str) -> None:
    from transfer_cli.export.litert.metadata import with_metadata

    path.write_bytes(with_metadata(path.read_bytes(), subject.to_dict(format)))
    embedded_digest.seal(path)


def _onnx(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    subject.write_onnx(path, subject.to_dict(export_formats.ONNX))
    embedded_digest.seal(path)


def _openvino(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    from transfer_cli.export.openvino import write_openvino

    facts = _facts_with_companions(subject, export_formats.find(export_formats.OPENVINO))
    write_openvino(subject.graph, path, _words(facts))
    _seal_with_companions(path, facts)


def _openvino_int8(subject: ExportableModel, path: Path, at_hand: ComparisonImages) -> None:
    from transfer_cli.export.openvino import write_openvino_int8

    facts = _facts_with_companions(subject, export_formats.find(export_formats.OPENVINO_INT8))
    write_openvino_int8(subject.graph, subject.bundle.image_size, at_hand.calibration, path, _words(facts))
    _seal_with_companions(path, facts)


def _words(facts: ExportedFacts) -> dict[str, str]:
    # OpenVINO's own tools take labels with spaces between them.
    labels = " ".join("_".join(name.split()) for name in facts.class_names)
    return {"model_type": "Classification", "labels": labels, FACTS: facts.json_text()}


def _facts_with_companions(subject: ExportableModel, spec: ExporterSpec) -> ExportedFacts:
    """Return facts that keep the room for the digests of files that are not there yet."""
    facts = subject.to_dict(spec.name)
    return facts.model_copy(update={"files": dict.fromkeys(spec.companions, _LATER)})


def _seal_with_companions(path: Path, facts: ExportedFacts) -> None:
    text = path.read_bytes()
    for name in facts.files:
        text = text.replace(_LATER.encode(), digest_of_file(path.parent / name).sha256.encode())
    path.write_bytes(text)
    embedded_digest.seal(path)


WRITERS: dict[str, Callable[[ExportableModel, Path, ComparisonImages], None]] = {
    export_formats.KERAS: _keras,
    export_formats.SAVED_MODEL: _saved_model,
    export_formats.LITERT: _litert,
    export_formats.LITERT_INT8: _litert_int8,
    export_formats.ONNX: _onnx,
    export_formats.OPENVINO: _openvino,
    export_formats.OPENVINO_INT8: _openvino_int8,
}
