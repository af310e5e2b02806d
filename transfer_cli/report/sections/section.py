"""What a section of the report is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from transfer_cli.report.context import ReportContext


@dataclass(frozen=True)
class Section(ABC):
    """A section of the page: a frozen dataclass with the values that its template shows.

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
    @abstractmethod
    def of(cls, context: ReportContext) -> Self | None:
        """Return the section of a run, or None if the run has nothing to show in it."""

    @property
    def template(self) -> str:
        """The file name of its template."""
        return f"{self.id}.html"
