"""Diagnostics of a run: what was found, why it matters, and what to do next.

To add a check, write a function in the module of its severity, and a run that fails the check in
tests/report/test_diagnostics.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from transfer_cli.bundle.bundle import ENSEMBLE
from transfer_cli.report import info_checks, moderate_checks, serious_checks
from transfer_cli.report.diagnostic_checks import Severity
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.report.table_advice import table_advice
from transfer_cli.text import shell_command

CHECKS = (*serious_checks.CHECKS, *moderate_checks.CHECKS, *info_checks.CHECKS)


@dataclass(frozen=True)
class Finding:
    """A problem of a run: what was found, why it matters, and what to do next."""

    name: str
    severity: Severity
    evidence: str
    why: str
    next_step: str


def diagnose(facts: RunFacts) -> list[Finding]:
    """Return the problems of a run, the most severe first."""
    is_ensemble = facts.method == ENSEMBLE
    run, tables = shell_command(facts.run), table_advice(facts)
    folder = tables["folder"]
    values = {
        **tables,
        "run": run,
        # Only the members of an ensemble are trained.
        "method": "extract" if is_ensemble else facts.method,
        "members_first": "each member with its own command and `--overwrite`, then " if is_ensemble else "",
        "repeat": f"{facts.command or f'transfer-cli {facts.method} {folder} -o {run}'} --overwrite",
        "smaller_size": 128 if facts.image_size > 128 else 64,
    }
    return [
        Finding(check.name, check.severity, evidence, check.why, check.next_step.format_map(values))
        for check in (*serious_checks.PREMISES, *CHECKS)
        if (evidence := check.evidence(facts))
    ]
