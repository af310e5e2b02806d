"""A loaded model with the options of ``transfer-cli predict``, and where its predictions are written."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from transfer_cli.calibration.rejection import COVERAGE
from transfer_cli.cli._console import Console
from transfer_cli.cli._options import cache_of, set_resume_hint
from transfer_cli.data.predictions import Predictions
from transfer_cli.data.skipped import Skipped
from transfer_cli.progress import SILENT

if TYPE_CHECKING:
    from transfer_cli.data.label_counts import LabelCounts
    from transfer_cli.inference.models import AbstractModel
    from transfer_cli.inference.reject import Rejector
    from transfer_cli.rendering.prediction_sheet import PredictionSheet

_OPTIONS = ("runtime", "batch_size", "strict", "tta", "coverage", "unknown", "threshold", "only", "exclude")
"""Options that change a prediction, or which images are skipped."""


@dataclass(frozen=True)
class Written:
    """What was written: the number of rows, of those labelled `unknown`, and the files that could not be read."""

    rows: int
    unknown: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Predictor:
    """Predicts files with a model, of which classes may be left out, and which may label images as `unknown`."""

    model: AbstractModel
    rejector: Rejector | None
    options: Mapping[str, Any]
    counts: LabelCounts | None = None
    sheet: PredictionSheet | None = None

    @classmethod
    def build(
        cls,
        console: Console,
        loaded: AbstractModel,
        options: Mapping[str, Any],
        counts: LabelCounts | None = None,
        sheet: PredictionSheet | None = None,
    ) -> Predictor:
        """Return the predictor of a model with the options of the command line; print what they mean."""
        from transfer_cli.inference.restricted_classes import RestrictedModel, restrict
        from transfer_cli.inference.tta import AugmentedModel

        model = restrict(loaded, only=options["only"], exclude=options["exclude"])
        if isinstance(model, RestrictedModel):
            console.note(model.summary)
        if options["tta"] is not None:
            model = AugmentedModel(model, options["tta"])
        rejector = _rejector(model, console, options)
        return cls(rejector.model if rejector else model, rejector, options, counts, sheet)

    @property
    def template(self) -> Predictions:
        """Predictions for no images."""
        from transfer_cli.inference.predict import without_images

        return without_images(self.model, rejects=self.rejector is not None)

    def __call__(self, paths: Iterable[str], part_size: int | None = None) -> Iterator[Predictions]:
        """Yield predictions for images, in order."""
        from transfer_cli.inference.predict import predict_files

        settings = {name: self.options[name] for name in ("batch_size", "strict")}
        return predict_files(self.model, paths, rejector=self.rejector, part_size=part_size, **settings)

    def write_file(self, console: Console, source: str, files: Sequence[str], output: Path, format_: str) -> Written:
        """Write the predictions of `files` by the model at `source`; continue if this was interrupted before."""
        from transfer_cli.inference.prediction_parts import PredictionParts, part_size_of, prediction_facts

        size = part_size_of(self.options["batch_size"])
        facts = prediction_facts(source, files, {name: self.options[name] for name in _OPTIONS})
        parts = PredictionParts(cache_of(self.options), facts, files, size, self.template, console)
        if parts.is_kept:
            set_resume_hint("The finished predictions are")
        batches = parts.predictions(partial(self, part_size=size))
        written = self._write(batches, output, format_, progress=console, total=len(files))
        parts.remove()
        return written

    def write_stdout(
        self, console: Console, groups: Iterable[Iterable[str]], format_: str, *, in_place: bool, total: int | None
    ) -> Written:
        """Write the predictions of each group of files when it ends; `in_place`: unreadable files get a row, too."""

        def answers() -> Iterator[Predictions]:
            for group in groups:
                for batch in self(group):
                    if in_place:
                        console.warn(*(f"skipped {file.path}: {file.reason}" for file in batch.skipped))
                    yield batch

        # Rows on a terminal and the progress bar would overwrite each other; a client waits for answers alone.
        progress = SILENT if in_place or _may_share_terminal() else console
        return self._write(answers(), console.rows, format_, in_place=in_place, progress=progress, total=total)

    def _write(self, batches: Iterable[Predictions], target: Path | IO[bytes], format_: str, **options: Any) -> Written:
        from transfer_cli.inference.predict import write_predictions

        unknown = 0

        def counted() -> Iterator[Predictions]:
            nonlocal unknown
            for batch in batches:
                unknown += sum(map(bool, batch.reasons()))
                if self.counts:
                    self.counts.add(batch)
                if self.sheet:
                    self.sheet.add(batch)
                yield batch

        rows, skipped = write_predictions(counted(), target, format_, top_k=self.options["top_k"], **options)
        if self.counts:
            self.counts.write()
        return Written(rows, unknown, skipped)

    def write_sheet(self, console: Console) -> None:
        """Draw the contact sheet, if there is one, and print where it is."""
        if self.sheet and self.sheet.images:
            console.warn(*self.sheet.write())
            console.note(f"contact sheet of {self.sheet.summary()}: {self.sheet.target}")

    def note_cost(self, console: Console) -> None:
        """Print what test-time augmentation took."""
        from transfer_cli.inference.tta import AugmentedModel

        if isinstance(self.model, AugmentedModel) and self.model.cost.milliseconds:
            console.note(f"{self.model.spec.name}: {self.model.cost.summary()}")


def _rejector(model: AbstractModel, console: Console, options: Mapping[str, Any]) -> Rejector | None:
    coverage = options["coverage"] or (COVERAGE if options["unknown"] else None)
    if coverage is None and options["threshold"] is None:
        return None

    from transfer_cli.inference.reject import Rejector

    rejector = Rejector(model, coverage=coverage, threshold=options["threshold"])
    if rejector.fitted_threshold is not None:
        condition = " (measured with all classes)" if model.left_out else ""
        console.note(f"`unknown` threshold{condition}: {rejector.fitted_threshold.summary()}")
    return rejector


def _may_share_terminal() -> bool:
    """Whether what is written to stdout may appear on the terminal of stderr, at once or through a pipe."""
    if sys.stdout.isatty():
        return True
    try:
        return sys.stderr.isatty() and stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):  # no file of the system, in a test
        return False
