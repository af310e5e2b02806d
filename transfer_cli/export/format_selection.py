"""Select the formats that a model can be exported to here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfer_cli.arguments import StrPath, as_text
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.errors import ModelError
from transfer_cli.export.merge_support import check_mergeable, classifiers_are_linear
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.run_of_model import run_of_model
from transfer_cli.text import shell_command


def select_formats(source: StrPath, formats: Sequence[str], progress: Progress = SILENT) -> list[ExportFormatSpec]:
    """Return the catalog rows of `formats`; with ``all`` among them, of every format that is possible here.

    Raises
    ------
    UnknownNameError
        When a format does not exist.
    MissingExtraError
        When a package is not installed.
    ModelError
        When a format cannot hold the classifier.
    """
    source = as_text(source, "a run or a bundle")
    specs = [export_formats.find(name) for name in dict.fromkeys(formats) if name != export_formats.ALL]
    opened = ModelBundle.open(Path(source))
    check_mergeable(opened, source)
    is_linear = classifiers_are_linear(opened)
    if export_formats.ALL in formats:
        return _possible_formats(source, is_linear, progress)
    able = ", ".join(spec.name for spec in export_formats.EXPORT_FORMATS.values() if spec.any_classifier)
    for spec in specs:
        if not is_linear and not spec.any_classifier:
            raise ModelError(
                f"The classifier of this model is not linear, so {spec.name} cannot hold it. Expected format: {able}.",
                hint=f"transfer-cli export {shell_command(source)} --format {able}\n"
                "or train a linear classifier: transfer-cli extract FOLDER --classifier logistic",
            )
        export_formats.check_installed(spec)
    return specs


def _possible_formats(source: str, is_linear: bool, progress: Progress) -> list[ExportFormatSpec]:
    specs = []
    for spec in export_formats.EXPORT_FORMATS.values():
        if not is_linear and not spec.any_classifier:
            progress.note(f"skipped {spec.name}: it holds linear classifiers only")
        elif spec.precision == "int8" and run_of_model(source) is None:
            progress.note(f"skipped {spec.name}: it needs the images of a run, and this is a bundle without its run")
        elif not spec.is_installed:
            progress.note(f"skipped {spec.name}: install it with pip install 'transfer-cli[{spec.extra}]'")
        else:
            specs.append(spec)
    if not specs:
        # Only ONNX holds every classifier, and its package is optional.
        export_formats.check_installed(export_formats.find(export_formats.ONNX))
    return specs
