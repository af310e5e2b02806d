"""Run details: images per class and split, command, recipe, versions, unreadable files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from transfer_cli.data.skipped import Skipped
from transfer_cli.regular_file import read_regular_text
from transfer_cli.report.context import ReportContext
from transfer_cli.report.run_facts_reader import skipped_files
from transfer_cli.report.sections.section import Section
from transfer_cli.text import printable


@dataclass(frozen=True)
class RunDetailsSection(Section):
    """The recipe and the environment of a run (as in environment.json), and the unreadable files."""

    id = "run"
    title = "Run details"
    recipe: str
    environment: Mapping[str, Any]
    skipped: Sequence[Skipped]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        directory = context.run.directory
        environment = directory.read_environment() if directory.environment.is_file() else {}
        recipe = printable(read_regular_text(directory.recipe))
        return cls(recipe, environment, skipped_files(context.run))
