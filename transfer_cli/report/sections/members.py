"""Members: the models of an ensemble, compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.report.context import ReportContext
from transfer_cli.report.sections.section import Section


@dataclass(frozen=True)
class MembersSection(Section):
    """The comparison of an ensemble with its members."""

    id = "members"
    title = "Members"
    comparison: MemberComparison

    @classmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section, or None if the run is not an ensemble."""
        return cls(context.members) if context.members else None
