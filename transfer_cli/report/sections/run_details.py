"""Run details: images per class and split, command, recipe, versions, unreadable files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transfer_cli.data.skipped import Skipped
from transfer_cli.report.context import ReportContext
from transfer_cli.report.run_facts_reader import skipped_files
from transfer_cli.report.sections.section import Section
from transfer_cli.text import printable


@dataclass(frozen=True)
class RunDetailsSection(Section):
    """The command, the recipe and the environment of a run (as in environment.json), and the unreadable files."""

    id = "run"
    title = "Run details"
    command: str
    recipe: str
    environment: Mapping[str, Any]
    skipped: tuple[Skipped, ...]

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        directory = context.run.directory
        path = directory.environment
        environment = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return cls(_text(directory.command), _text(directory.recipe), environment, skipped_files(context.run))


def _text(path: Path) -> str:
    return printable(path.read_text("utf-8", "surrogateescape")) if path.is_file() else ""
