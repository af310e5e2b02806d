"""What a section of the report is, and the sections that show the context only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from transfer_cli.report.context import ReportContext


@dataclass(frozen=True)
class Section:
    """A section of the page: a frozen dataclass with what its template shows beside the context.

    Attributes
    ----------
    id : str
        Anchor of the section; its template is ``templates/ID.html``.
    title : str
        Its entry in the table of contents.
    """

    id: ClassVar[str]
    title: ClassVar[str]

    @classmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section of a run, or None if the run has nothing to show in it."""
        return cls()


@dataclass(frozen=True)
class NextStepsSection(Section):
    """The findings of the diagnostics."""

    id = "next-steps"
    title = "Next steps"


@dataclass(frozen=True)
class MembersSection(Section):
    """The models of an ensemble, compared with it."""

    id = "members"
    title = "Members"

    @classmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section, or None if the run is not an ensemble."""
        return cls() if context.members else None


@dataclass(frozen=True)
class LeakageSection(Section):
    """Images of the run that are in several splits or have several labels."""

    id = "leakage"
    title = "Leakage"
