"""Leakage: images of the run that are in several splits or have several labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from transfer_cli.audit.leakage import Leaks
from transfer_cli.report.context import ReportContext
from transfer_cli.report.run_facts_reader import leaked_files
from transfer_cli.report.sections.section import Section


@dataclass(frozen=True)
class LeakageSection(Section):
    """Number of validation and test files that are also in the training set, and the leaks, None if not searched."""

    id = "leakage"
    title = "Leakage"
    identical_files: int
    leaks: Leaks | None

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        return cls(len(leaked_files(context.run)), context.leaks)
