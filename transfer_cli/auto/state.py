"""How far ``auto`` has come: kept beside its run, so that a stopped one goes on, whatever it was stopped at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.errors import RunError
from transfer_cli.io.atomic import write_json
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class AutoState:
    """What is decided already.

    Attributes
    ----------
    choices : dict of str to object
        What was asked for, as JSON holds it.
    seconds : float
        What has been spent so far, by all commands that worked on the run.
    ranked : tuple of Candidate
        The best of the ranking, once that has ended.
    winner : str
        The step whose model is taken; it is decided before test is read, and not again.
    val_note : str
        What the winner's figures of val are.
    """

    choices: dict[str, object]
    seconds: float = 0.0
    ranked: tuple[Candidate, ...] = ()
    winner: str = ""
    val_note: str = ""

    @classmethod
    def begin(cls, recipe: AutoRecipe) -> AutoState:
        """Return the state in which nothing is decided."""
        return cls(recipe.model_dump(mode="json"))

    @classmethod
    def read(cls, run: RunDirectory) -> AutoState:
        """Return what auto.json says; raise RunError when it cannot be read."""
        try:
            facts = json.loads(run.auto.read_text("utf-8"))
            ranked = tuple(Candidate(str(row["backbone"]), str(row["weights"])) for row in facts.get("ranked", []))
            winner, note = (str(facts.get(word) or "") for word in ("winner", "val_note"))
            return cls(dict(facts["choices"]), float(facts.get("seconds", 0.0)), ranked, winner, note)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{run.auto} cannot be read: {error}.", hint="Add --overwrite to make it anew.") from None

    def write(self, run: RunDirectory) -> None:
        """Write auto.json."""
        facts = {
            "choices": self.choices,
            "seconds": round(self.seconds, 1),
            "ranked": [{"backbone": each.backbone, "weights": each.weights} for each in self.ranked],
            "winner": self.winner,
            "val_note": self.val_note,
        }
        write_json(run.auto, facts)

    def must_match(self, run: RunDirectory, recipe: AutoRecipe, source: Path) -> None:
        """Raise RunError, saying every difference, unless the run is of these choices and of this folder."""
        was, now = self.choices, recipe.model_dump(mode="json")
        other = [f"{word} is {was.get(word)} there and {now[word]} here" for word in now if was.get(word) != now[word]]
        folder = run.folder.read_text("utf-8", "surrogateescape").strip() if run.folder.is_file() else ""
        if folder != str(source.resolve()):
            other.append(f"its folder is {folder or 'unknown'}")
        if other:
            raise RunError(
                f"{run.path} holds another run: {'; '.join(other)}.",
                hint="Choose another place with -o RUN, or --overwrite to replace it.",
            )

    def is_complete(self, run: RunDirectory) -> bool:
        """Return whether nothing is left to do: test was read, and the report is there."""
        return self.is_tested(run) and run.report.is_file()

    def is_tested(self, run: RunDirectory) -> bool:
        """Return whether the model that was taken has its figures of test."""
        return bool(self.winner) and run.is_complete(with_model=True, with_features=False)
