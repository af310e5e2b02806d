"""The names of the files of one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """Where each file of a run is. Nobody else joins these names."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, TOML."""
        return self.path / "recipe.toml"

    @property
    def folder(self) -> Path:
        """Where the pictures were, text."""
        return self.path / "folder.txt"

    @property
    def command(self) -> Path:
        """The command as it was typed."""
        return self.path / "command.txt"

    @property
    def environment(self) -> Path:
        """Versions, device, seed and git commit, JSON."""
        return self.path / "environment.json"

    @property
    def split(self) -> Path:
        """Path, digest, class and part of each image, CSV."""
        return self.path / "split.csv"

    @property
    def skipped(self) -> Path:
        """Path and reason of each file that could not be read, CSV."""
        return self.path / "skipped.csv"

    @property
    def history(self) -> Path:
        """What was tried and its score on val, CSV."""
        return self.path / "history.csv"

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """The figures of each part, JSON; the last file of a run, so that its presence means it is complete."""
        return self.path / "metrics.json"

    @property
    def plan(self) -> Path:
        """What was planned into a time budget, JSON."""
        return self.path / "plan.json"

    @property
    def unlabelled(self) -> Path:
        """What a first training said of each unlabelled picture, and whether it was learnt from, CSV."""
        return self.path / "unlabelled.csv"

    @property
    def features(self) -> Path:
        """Path, digest, class, part and feature of each image, Parquet."""
        return self.path / "features.parquet"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The last epoch of a fine-tuning and its best one."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """Pictures for a person."""
        return self.path / "plots"

    @property
    def map(self) -> Path:
        """Where each picture lies on the map of the features, CSV."""
        return self.path / "map.csv"

    @property
    def members(self) -> Path:
        """The members of an ensemble beside it, JSON."""
        return self.path / "members.json"

    @property
    def auto(self) -> Path:
        """What was asked of ``auto``, and which step was taken, JSON."""
        return self.path / "auto.json"

    @property
    def steps(self) -> Path:
        """What ``auto`` made on its way: a ranking, and runs."""
        return self.path / "steps"

    @property
    def bags(self) -> Path:
        """The members of a bagged run, a run each."""
        return self.path / "bags"

    @property
    def report(self) -> Path:
        """All about the run on one page, HTML."""
        return self.path / "report.html"

    @property
    def leaks(self) -> Path:
        """Pictures that are in two parts or two classes, CSV."""
        return self.path / "leaks.csv"

    @property
    def evaluations(self) -> Path:
        """What the model came to on other folders, one directory each."""
        return self.path / "evaluations"

    @property
    def explanations(self) -> Path:
        """Why the model said what it said of some pictures."""
        return self.path / "explanations"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.path / "tensorboard"

    def predictions(self, part: str) -> Path:
        """Return where the predictions of one part are, CSV."""
        return self.path / f"predictions_{part}.csv"

    def confusion(self, part: str) -> Path:
        """Return where it is counted which class of one part was taken for which, CSV."""
        return self.path / f"confusion_{part}.csv"

    def curves(self, part: str) -> Path:
        """Return where the ROC, precision-recall and reliability curves of one part are, CSV."""
        return self.path / f"curves_{part}.csv"
