"""The folder of a ranking: names of its files, and whether it may be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.errors import OutputError, RunConflictError
from transfer_cli.io.atomic import check_writable_folder, write_json
from transfer_cli.io.csv_tables import write_table
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.ranking.results import COLUMNS, Ranking
from transfer_cli.runs.entry import Directory, Entry
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.typed_options import TypedOptions

_SETTINGS = ("settings", "command")
_ELSEWHERE = "Choose another folder with -o DIR."


@dataclass(frozen=True, init=False)
class RankingDirectory(Directory):
    """The folder of a ranking; the only place that knows the names of its files."""

    ranking = Entry("ranking.json")  # the whole ranking
    table = Entry("ranking.csv")  # one row per candidate
    plot = Entry("pareto.png")  # score against cost, with the Pareto fronts
    settings = Entry("settings.json")  # the folder, the settings and the command
    candidates = Entry("candidates")  # results of each candidate, one JSON file each, from which a ranking continues

    @classmethod
    def default(cls, folder: str) -> RankingDirectory:
        """Return ``runs/rank-FOLDER``."""
        return cls(Path("runs") / f"rank-{folder}")

    def check_free(self, source: Path) -> None:
        """Raise OutputError if it is inside the image folder, RunConflictError if it holds no ranking of these images.

        A ranking with other settings is continued (see `check_matches`).
        """
        if self.path.resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"{self.path} is inside the image folder {source}. Expected a folder outside of it.", hint=_ELSEWHERE
            )
        if self.path.exists() and not self.path.is_dir():
            file = f"{self.path} is a file. Expected a folder."
            raise RunConflictError(self.path, ["it is a file"], file, hint=_ELSEWHERE)
        check_writable_folder(self.path)
        earlier = self.read_settings()
        is_ours = self.candidates.is_dir() or bool(earlier)
        if not is_ours and self.path.is_dir() and any(self.path.iterdir()):
            foreign = f"{self.path} is not empty and holds no ranking."
            raise RunConflictError(self.path, ["it holds other files"], foreign, hint=_ELSEWHERE)
        self._refuse(_folder_difference(earlier, source))

    def check_matches(self, source: Path, settings: Mapping[str, object], command: Sequence[str]) -> None:
        """Raise RunConflictError if the folder holds a ranking with other settings, which would be replaced."""
        earlier = self.read_settings()
        typed = TypedOptions(tuple(earlier.get("command", ()))), TypedOptions(command)
        differences = recipe_differences(earlier["settings"], settings, *typed) if "settings" in earlier else []
        self._refuse([*differences, *_folder_difference(earlier, source)])

    def _refuse(self, differences: Sequence[str]) -> None:
        if differences:
            message = f"{self.path} holds another ranking: {'; '.join(differences)}."
            raise RunConflictError(self.path, differences, message, hint=_ELSEWHERE)

    def read_settings(self) -> dict[str, Any]:
        """Return the folder of the images, the settings and the command of the ranking; empty if there is none."""
        for path in (self.settings, self.ranking):  # rankings of earlier versions have no settings
            with suppress(OSError, ValueError, KeyError, TypeError):
                content = read_json(path)
                return {"folder": str(content["folder"]), **{key: content[key] for key in _SETTINGS if key in content}}
        return {}

    def write_settings(self, source: Path, settings: Mapping[str, object], command: Sequence[str]) -> None:
        """Write settings.json, by which a later command knows the ranking."""
        write_json(self.settings, {"folder": str(source.resolve()), "settings": settings, "command": [*command]})

    def write(self, ranking: Ranking) -> None:
        """Write ranking.json and ranking.csv."""
        write_json(self.ranking, ranking.to_dict())
        write_table(self.table, COLUMNS, ranking.table())


def _folder_difference(earlier: Mapping[str, Any], source: Path) -> list[str]:
    was, now = earlier.get("folder"), str(source.resolve())
    return [] if was in (None, now) else [f"the folder is {was} there and {now} here"]
