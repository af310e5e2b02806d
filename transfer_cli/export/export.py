"""Export a trained model to files for other runtimes; each must predict like the model before it is put in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transfer_cli.arguments import StrPath, as_path, as_text, check_type
from transfer_cli.catalog.export_formats import ExportFormatSpec
from transfer_cli.errors import MissingExtraError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export import parity as parity_check
from transfer_cli.export.export_images import ExportImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.export.output_folder import DRAFT, write_parity_table
from transfer_cli.export.parity import Parity
from transfer_cli.export.results import AccuracyDrop, ExportResult
from transfer_cli.export.writers import write
from transfer_cli.io.atomic import put_in_place, remove, scratch_folder, write_error
from transfer_cli.io.drafts import temporary_folder
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.quiet_imports import import_tensorflow
from transfer_cli.text import counted

_MIN_SCORED_IMAGES = 100
"""With fewer images, a drop of one percentage point is hardly measurable."""
MAX_ACCURACY_DROP = 1.0
"""Default of the percentage points of accuracy that an int8 file may lose."""


def export(
    source: StrPath,
    specs: Sequence[ExportFormatSpec],
    target: StrPath,
    *,
    images: StrPath | None = None,
    max_drop: float = MAX_ACCURACY_DROP,
    progress: bool | Progress = False,
) -> list[ExportResult]:
    """Export a run or a bundle to some formats and check each file; a file that fails is removed and reported.

    Parameters
    ----------
    source : str or os.PathLike
        A run or a bundle.
    specs : sequence of ExportFormatSpec
        See `format_selection.select_formats`.
    target : str or os.PathLike
        Folder to write.
    images : str or os.PathLike, optional
        Where the images of the run are now; for a bundle without its run, any folder of images.
    max_drop : float
        Percentage points of accuracy that an int8 file may lose.
    progress : bool or Progress

    Raises
    ------
    InputError
        When there are no images to check the files on.
    OutputError
        When a file cannot be written.
    """
    source, target, progress = as_text(source, "a run or a bundle"), as_path(target, "a folder"), progress_of(progress)
    moved = None if images is None else as_path(images, "the folder of the images")
    for spec in specs:
        check_type(spec, ExportFormatSpec, "rows of the catalog: select_formats(MODEL, ['litert'])")
    with temporary_folder() as folder:
        model = ExportableModel(source, folder, progress)
        has_int8 = any(spec.precision == "int8" for spec in specs)
        exporter = _Exporter(model, ExportImages.of(source, model.bundle, moved), target, max_drop, has_int8)
        with progress.track("exporting, formats", len(specs)) as advance:
            results = []
            for spec in specs:
                results.append(exporter.export(spec))
                advance(1)
    write_parity_table(target, model.bundle, {result.spec.name: result.to_dict() for result in results}, progress)
    return results


class _Exporter:
    """Writes a model in one format after the other, and checks each file against the model's predictions."""

    def __init__(
        self, model: ExportableModel, images: ExportImages, target: Path, max_drop: float, has_int8: bool
    ) -> None:
        self._model, self._images, self._target, self._max_drop = model, images, target, max_drop
        progress = model.progress
        if has_int8:
            images.check_int8_images()
        with progress.track("starting TensorFlow", None):
            import_tensorflow()
        with progress.track("predicting with the model", None):
            self._compared = images.to_compare()
            self._expected = model.reference.predict_proba(self._compared)
        progress.note(f"parity check on {counted(len(self._compared), 'image')} of {images.compared_with}")
        if not parity_check.predictions_vary(self._expected):
            progress.warn("predictions hardly vary on these images, so the parity check proves little")
        if has_int8:
            self._scored, self._truth = images.to_score()
            self._scored_predictions = model.reference.predict_proba(self._scored)

    def export(self, spec: ExportFormatSpec) -> ExportResult:
        """Write and check one format; put it in place if it passes."""
        progress = self._model.progress
        with progress.track(f"exporting and checking {spec.name}", None), scratch_folder(self._target, DRAFT) as draft:
            try:
                result = self._export_draft(spec, draft)
            except OSError as error:
                raise write_error(error, self._target / spec.file) from error
        drop = result.drop
        if drop and drop.images < _MIN_SCORED_IMAGES:
            progress.warn(
                f"only {counted(drop.images, f'{drop.split} image')}: the accuracy drop of {spec.name} is unreliable"
            )
        return result

    def _export_draft(self, spec: ExportFormatSpec, draft: Path) -> ExportResult:
        """Write the files to `draft`, and move them to the target if they pass the checks."""
        path, target, drop = draft / spec.file, self._target, None
        try:
            write(self._model, spec, path, self._images)
            probabilities, ms_per_image = parity_check.predict_with_file(path, self._compared)
            parity = parity_check.compare(self._expected, probabilities, self._model.bundle.thresholds)
            failure = parity.fault
            if spec.precision == "int8":
                drop = None if failure else self._accuracy_drop(path)
                failure = drop.failure(self._max_drop) if drop else failure
            elif not parity.is_exact:
                failure = parity.summary
        except MissingExtraError:
            raise
        except ModelError as error:
            # This format failed; the others are still exported.
            reason = str(error).replace(str(draft), str(target))
            _remove_files(target, spec)
            return ExportResult(spec, None, 0, 0.0, Parity(0, np.inf, 0, reason), None, reason)
        size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
        # A file of an earlier export is not of this model.
        _remove_files(target, spec)
        if failure is None:
            # The companions first: with the main file in place, the export is complete.
            for name in (*spec.companions, spec.file):
                put_in_place(draft / name, target / name)
        return ExportResult(spec, None if failure else target / spec.file, size, ms_per_image, parity, drop, failure)

    def _accuracy_drop(self, path: Path) -> AccuracyDrop:
        """Return the accuracy that the int8 file at `path` loses on the images with known classes."""
        after, _ = parity_check.predict_with_file(path, self._scored)
        thresholds = self._model.bundle.thresholds
        limits = None if thresholds is None else np.array(thresholds)
        drop = accuracy_drop(self._truth, self._scored_predictions, after, limits)
        return AccuracyDrop(self._images.scored_part, len(self._truth), *drop)


def _remove_files(target: Path, spec: ExportFormatSpec) -> None:
    for name in (spec.file, *spec.companions):
        remove(target / name)
