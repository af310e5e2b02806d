"""Next steps: the findings of the diagnostics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from transfer_cli.report.context import ReportContext
from transfer_cli.report.diagnostics import CHECKS, Finding, diagnose
from transfer_cli.report.sections.section import Section


@dataclass(frozen=True)
class NextStepsSection(Section):
    """The findings, the most severe first, and the number of checks."""

    id = "next-steps"
    title = "Next steps"
    findings: tuple[Finding, ...]
    checks: int

    @classmethod
    def of(cls, context: ReportContext) -> Self:
        """Return the section."""
        return cls(tuple(diagnose(context.facts)), len(CHECKS))
