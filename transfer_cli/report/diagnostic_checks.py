"""The diagnostics of one severity, and how a function becomes one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transfer_cli.report.run_facts import RunFacts

Evidence = Callable[[RunFacts], str | None]
Severity = Literal["serious", "check", "info"]


@dataclass(frozen=True)
class DiagnosticCheck:
    """A check: `next_step` may hold placeholders, see `diagnostics.diagnose`."""

    name: str
    severity: Severity
    evidence: Evidence
    why: str
    next_step: str


class DiagnosticChecks(list[DiagnosticCheck]):
    """The checks of one severity, in the order of the page."""

    def __init__(self, severity: Severity) -> None:
        super().__init__()
        self._severity = severity

    def add(self, name: str, why: str, next_step: str) -> Callable[[Evidence], Evidence]:
        """Make a check of the function below: a problem's name, why it matters, and what to do next."""

        def register(evidence: Evidence) -> Evidence:
            self.append(DiagnosticCheck(name, self._severity, evidence, why, next_step))
            return evidence

        return register
