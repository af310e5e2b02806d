"""The folder of a ranking: names of its files, and whether it may be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.ranking.results import COLUMNS, Ranking
from transfer_cli.runs.entry import Directory, Entry


@dataclass(frozen=True, init=False)
class RankingDirectory(Directory):
    """The folder of a ranking; the only place that knows the names of its files."""

    ranking = Entry("ranking.json")  # the whole ranking
    table = Entry("ranking.csv")  # one row per candidate
    plot = Entry("pareto.png")  # score against cost, with the Pareto fronts
    candidates = Entry("candidates")  # results of each candidate, one JSON file each, from which a ranking continues

    @classmethod
    def default(cls, folder: str) -> RankingDirectory:
        """Return ``runs/rank-FOLDER``."""
        return cls(Path("runs") / f"rank-{folder}")

    def check_free(self, source: Path) -> None:
        """Raise OutputError if the folder holds something else than a ranking of these images."""
        hint = "Choose another folder with -o DIR."
        if self.path.resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"{self.path} is inside the image folder {source}. Expected a folder outside of it.", hint=hint
            )
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"{self.path} is a file. Expected a folder.")
        try:
            earlier = read_json(self.ranking)["folder"]
        except (OSError, ValueError, KeyError, TypeError):
            earlier = None
        is_ours = self.candidates.is_dir() or earlier is not None
        if not is_ours and self.path.is_dir() and any(self.path.iterdir()):
            raise OutputError(f"{self.path} is not empty and holds no ranking.", hint=hint)
        if earlier is not None and earlier != str(source.resolve()):
            raise OutputError(f"{self.path} holds the ranking of another folder, {earlier}.", hint=hint)

    def write(self, ranking: Ranking) -> None:
        """Write ranking.json and ranking.csv."""
        write_json(self.ranking, ranking.to_dict())
        write_table(self.table, COLUMNS, ranking.table())
