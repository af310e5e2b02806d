"""Export a trained model to files for other runtimes; each must predict like the model before it is put in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export import parity as parity_check
from transfer_cli.export.export_images import ExportImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.export.output_folder import DRAFT, write_parity_table
from transfer_cli.export.parity import Parity
from transfer_cli.export.results import AccuracyDrop, ExportResult
from transfer_cli.export.writers import WRITERS
from transfer_cli.io.atomic import remove, scratch_folder, write_error
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.text import counted

_MIN_SCORED_IMAGES = 100
"""With fewer images, a drop of one percentage point is hardly measurable."""
MAX_ACCURACY_DROP = 1.0
"""Default of the percentage points of accuracy that an int8 file may lose."""


def export(
    source: str,
    specs: Sequence[ExportFormatSpec],
    target: Path,
    *,
    images: Path | None = None,
    max_drop: float = MAX_ACCURACY_DROP,
    progress: Progress = SILENT,
) -> list[ExportResult]:
    """Export a run or a bundle to some formats and check each file; a file that fails is removed and reported.

    Parameters
    ----------
    source : str
    specs : sequence of ExportFormatSpec
    target : Path
        Folder to write.
    images : Path, optional
        Where the images of the run are now; for a bundle without its run, any folder of images.
    max_drop : float
        Percentage points of accuracy that an int8 file may lose.
    progress : Progress

    Raises
    ------
    InputError
        When there are no images to check the files on.
    OutputError
        When a file cannot be written.
    """
    with TemporaryDirectory(prefix="transfer-cli-") as folder:
        model = ExportableModel(source, Path(folder), progress)
        results = _export_all(model, specs, target, ExportImages.of(source, model.bundle, images), max_drop, progress)
    write_parity_table(target, model.bundle, {result.spec.name: result.to_dict() for result in results}, progress)
    return results


@dataclass(frozen=True)
class _ScoredImages:
    """Images with known classes, and the model's predictions for them."""

    part: str
    images: NDArray[np.uint8]
    truth: NDArray[np.int64]
    predictions: NDArray[np.float32]

    @classmethod
    def of(cls, model: ExportableModel, images: ExportImages) -> _ScoredImages:
        pixels, truth = images.to_score()
        return cls(images.scored_part, pixels, truth, model.reference.predict_proba(pixels))

    def accuracy_drop(self, bundle: ModelBundle, path: Path) -> AccuracyDrop:
        """Return the accuracy that the file at `path` loses on these images."""
        after = parity_check.predict_with_file(path, self.images).probabilities
        thresholds = None if bundle.thresholds is None else np.array(bundle.thresholds)
        points, low, high = accuracy_drop(self.truth, self.predictions, after, thresholds)
        return AccuracyDrop(self.part, len(self.truth), points, low, high)


@dataclass(frozen=True)
class _Checks:
    """What every file has to pass.

    Attributes
    ----------
    images : ndarray of shape (n, size, size, 3), uint8
    expected : ndarray of shape (n, k), float32
        The model's predictions for the images.
    scored : _ScoredImages or None
        For int8 files.
    max_drop : float
    """

    images: NDArray[np.uint8]
    expected: NDArray[np.float32]
    scored: _ScoredImages | None
    max_drop: float

    def run(self, spec: ExportFormatSpec, path: Path, bundle: ModelBundle) -> tuple[Parity, float, AccuracyDrop | None]:
        """Return the parity of a file, its milliseconds per image, and the accuracy drop of an int8 file."""
        predicted = parity_check.predict_with_file(path, self.images)
        parity = parity_check.compare(self.expected, predicted.probabilities, bundle.thresholds)
        drop = None
        if spec.precision == "int8" and parity.fault is None:
            assert self.scored is not None
            drop = self.scored.accuracy_drop(bundle, path)
        return parity, predicted.ms_per_image, drop

    def failure(self, parity: Parity, drop: AccuracyDrop | None) -> str | None:
        """Return why a file is rejected; None when it passes."""
        if parity.fault:
            return parity.fault
        if drop is not None:
            return drop.failure(self.max_drop)
        return None if parity.is_exact else parity.summary


def _export_all(
    model: ExportableModel,
    specs: Sequence[ExportFormatSpec],
    target: Path,
    images: ExportImages,
    max_drop: float,
    progress: Progress,
) -> list[ExportResult]:
    has_int8 = any(spec.precision == "int8" for spec in specs)
    if has_int8:
        images.check_int8_images()
    with progress.track("starting TensorFlow", None):
        import_tensorflow()
    with progress.track("predicting with the model", None):
        compared = images.to_compare()
        expected = model.reference.predict_proba(compared)
    progress.note(f"parity check on {counted(len(compared), 'image')} of {images.compared_with}")
    if not parity_check.predictions_vary(expected):
        progress.warn("predictions hardly vary on these images, so the parity check proves little")
    checks = _Checks(compared, expected, _ScoredImages.of(model, images) if has_int8 else None, max_drop)
    results: list[ExportResult] = []
    for spec in specs:
        with progress.track(f"exporting and checking {spec.name}", None):
            results.append(_export_one(model, spec, target, images, checks))
        drop = results[-1].drop
        if drop and drop.images < _MIN_SCORED_IMAGES:
            progress.warn(
                f"only {counted(drop.images, f'{drop.split} image')}: the accuracy drop of {spec.name} is unreliable"
            )
    return results


def _export_one(
    model: ExportableModel, spec: ExportFormatSpec, target: Path, images: ExportImages, checks: _Checks
) -> ExportResult:
    with scratch_folder(target, DRAFT) as draft:
        try:
            return _export_draft(model, spec, target, draft, images, checks)
        except OSError as error:
            raise write_error(error, target / spec.file) from error


def _export_draft(
    model: ExportableModel, spec: ExportFormatSpec, target: Path, draft: Path, images: ExportImages, checks: _Checks
) -> ExportResult:
    """Write the files to `draft`, and move them to `target` if they pass the checks."""
    path = draft / spec.file
    try:
        WRITERS[spec.name](model, path, images)
        parity, ms_per_image, drop = checks.run(spec, path, model.bundle)
    except MissingExtraError:
        raise
    except ModelError as error:
        # This format failed; the others are still exported.
        reason = str(error).replace(str(draft), str(target))
        _remove_files(target, spec)
        return ExportResult(spec, None, 0, 0.0, Parity(0, np.inf, 0, reason), None, reason)
    size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
    failure = checks.failure(parity, drop)
    # A file of an earlier export is not of this model.
    _remove_files(target, spec)
    if failure is None:
        # The companions first: with the main file in place, the export is complete.
        for name in (*spec.companions, spec.file):
            (draft / name).replace(target / name)
    return ExportResult(spec, None if failure else target / spec.file, size, ms_per_image, parity, drop, failure)


def _remove_files(target: Path, spec: ExportFormatSpec) -> None:
    for name in (spec.file, *spec.companions):
        remove(target / name)
