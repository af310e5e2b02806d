"""`report`: one self-contained HTML page about a finished run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from transfer_cli.arguments import StrPath, as_path
from transfer_cli.bundle.features_only import features_only_hint
from transfer_cli.errors import RunError
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.rendering.html import render
from transfer_cli.rendering.palette import class_colours
from transfer_cli.report.confusion_cells import MAX_CORRECT_SHOWN, MAX_MISTAKES_SHOWN
from transfer_cli.report.context import LEAKS_SHOWN, ReportContext
from transfer_cli.report.diagnostics import CHECKS, Finding
from transfer_cli.report.script_data import script_data
from transfer_cli.report.sections import calibration, feature_map, mistakes, per_class, run_details, summary, training
from transfer_cli.report.sections.section import LeakageSection, MembersSection, NextStepsSection, Section
from transfer_cli.report.suspects import write_suspects
from transfer_cli.runs.completed_run import FinishedRun

SECTIONS: tuple[type[Section], ...] = (
    NextStepsSection,
    MembersSection,
    mistakes.MistakesSection,
    mistakes.ConfidentMistakesSection,
    per_class.PerClassSection,
    calibration.CalibrationSection,
    training.TrainingSection,
    feature_map.FeatureMapSection,
    LeakageSection,
    run_details.RunDetailsSection,
)
"""In the order of the page."""


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes
    ----------
    path : Path
    size : int
        In bytes.
    images : int
        Number of images on the page.
    missing_images : int
        Number of images that could not be read any more.
    findings : tuple of Finding
    omissions : dict of str to str
        What the page lacks, and why.
    """

    path: Path
    size: int
    images: int
    missing_images: int
    findings: tuple[Finding, ...]
    omissions: Mapping[str, str]


def report(run: FinishedRun | StrPath, target: StrPath | None = None, *, progress: bool | Progress = False) -> Report:
    """Write an HTML page about a run, and its confident mistakes as suspects.csv into the run.

    Parameters
    ----------
    run : FinishedRun or path
    target : str or os.PathLike, optional
        [``report.html`` in the run]
    progress : bool or Progress

    Raises
    ------
    RunError
        If the run has no predictions.
    """
    run = run if isinstance(run, FinishedRun) else FinishedRun.read(run)
    if not run.parts:
        raise RunError(
            f"{run.directory.path} has no predictions to report on.",
            hint=features_only_hint(run.directory.path),
        )
    target = run.directory.report if target is None else as_path(target, "a file to write")
    progress = progress_of(progress)
    context = ReportContext(run, progress)
    context.attempt("suspects.csv", lambda: write_suspects(run, context.parts), None)
    with progress.track("writing the report, sections", len(SECTIONS)) as advance:
        sections = [section for kind in SECTIONS if (section := _section(kind, context, advance))]
    size = render(
        "transfer_cli.report",
        "report.html",
        target,
        script="report.js",
        context=context,
        summary=summary.Summary.of(context),
        sections=sections,
        colours=[_colour_attributes(column) for column in range(len(context.names))],
        data=script_data(context),
        checks=len(CHECKS),
        max_shown=(MAX_MISTAKES_SHOWN, MAX_CORRECT_SHOWN),
        max_leaks=LEAKS_SHOWN,
    )
    images = context.thumbnails
    return Report(target, size, len(images), len(images.missing), tuple(context.findings), context.omissions)


def _section(kind: type[Section], context: ReportContext, advance: Callable[[int], None]) -> Section | None:
    section = kind.of(context)
    advance(1)
    return section


def _colour_attributes(column: int) -> Markup:
    """Return the colours of a class as HTML attributes; from the tenth class on, fill and edge differ."""
    fill, edge = ("#" + bytes(colour).hex() for colour in class_colours(column))
    return Markup('style="--fill:{};--edge:{}"{}').format(fill, edge, "" if fill == edge else Markup(" data-second"))
