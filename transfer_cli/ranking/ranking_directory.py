"""The folder of a ranking: names of its files, and whether it may be written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.ranking.results import COLUMNS, Ranking


@dataclass(frozen=True)
class RankingDirectory:
    """The folder of a ranking; the only place that knows the names of its files."""

    path: Path

    @classmethod
    def default(cls, folder: str) -> RankingDirectory:
        """Return ``runs/rank-FOLDER``."""
        return cls(Path("runs") / f"rank-{folder}")

    @property
    def ranking(self) -> Path:
        """The whole ranking, JSON."""
        return self.path / "ranking.json"

    @property
    def table(self) -> Path:
        """One row per candidate, CSV."""
        return self.path / "ranking.csv"

    @property
    def plot(self) -> Path:
        """Plot of score against cost with the Pareto fronts, PNG."""
        return self.path / "pareto.png"

    @property
    def candidates(self) -> Path:
        """Results of each candidate, one JSON file per candidate, from which a ranking continues."""
        return self.path / "candidates"

    def check_free(self, source: Path) -> None:
        """Raise OutputError if the folder holds something else than a ranking of these images."""
        hint = "Choose another folder with -o DIR."
        if self.path.resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"{self.path} is inside the image folder {source}. Expected a folder outside of it.", hint=hint
            )
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file. Expected a folder.")
        earlier = self._source()
        is_ours = self.candidates.is_dir() or earlier is not None
        if not is_ours and self.path.is_dir() and any(self.path.iterdir()):
            raise OutputError(f"{self.path} is not empty and holds no ranking.", hint=hint)
        if earlier is not None and earlier != str(source.resolve()):
            raise OutputError(f"{self.path} holds the ranking of another folder, {earlier}.", hint=hint)

    def write(self, ranking: Ranking) -> None:
        """Write ranking.json and ranking.csv."""
        write_json(self.ranking, ranking.to_dict())
        write_table(self.table, COLUMNS, ranking.table())

    def _source(self) -> str | None:
        try:
            source = json.loads(self.ranking.read_text("utf-8"))["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return source if isinstance(source, str) else None
