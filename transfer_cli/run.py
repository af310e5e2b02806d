"""The directory of one run: the names in it, and who may write there."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer_cli.errors import RunError
from transfer_cli.recipe import Recipe
from transfer_cli.writing import refused, remove, write_json, write_text

_DRAFT = re.compile(r"\.(features-.*|.+\.[0-9a-f]{8}(\..+)?)")
_PACKAGES = ("transfer-cli", "tensorflow", "keras", "scikit-learn", "numpy", "pillow", "pyarrow", "skops")


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk. Nobody else joins these names."""

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
    def features(self) -> Path:
        """Path, digest, class, part and feature of each image, Parquet."""
        return self.path / "features.parquet"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.path / "model"

    def predictions(self, part: str) -> Path:
        """Return where the predictions of one part are, CSV."""
        return self.path / f"predictions_{part}.csv"

    def is_complete(self, *, with_model: bool) -> bool:
        """Return whether the run came to its end and still has what it made."""
        made = [self.metrics, self.split, self.skipped, self.features]
        return all(path.is_file() for path in made) and (self.model.is_dir() or not with_model)

    def begin(self, recipe: Recipe, folder: Path, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Claim the directory for a recipe and a folder.

        An unfinished run of the same recipe keeps its split.csv and begins again. With `overwrite` the results of an
        earlier run are removed and its split.csv is kept, so that the new one has the same test pictures.

        Raises
        ------
        RunError
            When the directory holds a run of another recipe or folder, or something that is no run.
        OutputError
            When it cannot be written.
        """
        if self.path.resolve().is_relative_to(folder.resolve()):
            raise RunError(
                f"The run {self.path} would lie inside the folder of pictures {folder}, and be taken for a class.",
                hint="Choose a place outside with -o RUN.",
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file. Expected the directory of a run.")
        if self.recipe.is_file() and self.folder.is_file():
            # A run that never came to its features holds nothing: another recipe may have its place.
            if overwrite or not (self.features.exists() or self.metrics.exists() or self.model.exists()):
                self._clear()
            else:
                self.must_match(recipe, folder)
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and holds no run.", hint="Choose another place with -o RUN.")
        self._sweep()
        write_text(self.recipe, recipe.to_toml())
        write_text(self.folder, f"{folder.resolve()}\n")
        write_text(self.command, shlex.join(command) + "\n")

    def write_environment(self, seed: int, device: str) -> None:
        """Write what else a result may depend on."""
        write_json(self.environment, environment(seed, device))

    def versions(self) -> dict[str, str | None]:
        """Return the versions in environment.json."""
        versions: dict[str, str | None] = json.loads(self.environment.read_text("utf-8"))["versions"]
        return versions

    def read_metrics(self) -> dict[str, Any]:
        """Return what metrics.json says; raise RunError when it cannot be read."""
        try:
            metrics: dict[str, Any] = json.loads(self.metrics.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.metrics} cannot be read: {error}.", hint="Add --overwrite to make it anew."
            ) from None
        return metrics

    def log(self, event: str, **facts: Any) -> None:
        """Append one event; a line is written in one piece."""
        line = json.dumps({"event": event, **facts}, ensure_ascii=False) + "\n"
        try:
            with self.events.open("a", encoding="utf-8", errors="surrogateescape") as events:
                events.write(line)
        except OSError as error:
            raise refused(error, self.events) from error

    def _sweep(self) -> None:
        # What a killed process left behind: drafts, which never got their names.
        if self.path.is_dir():
            for path in self.path.glob(".*"):
                if _DRAFT.fullmatch(path.name):
                    remove(path)

    def _clear(self) -> None:
        for path in (self.metrics, self.model, self.features, self.skipped, self.history, self.events):
            remove(path)
        for path in self.path.glob("predictions_*.csv"):
            remove(path)

    def must_match(self, recipe: Recipe, folder: Path) -> None:
        """Raise RunError, saying every difference, unless the run is of this recipe and this folder."""
        before = _recipe_of(self.recipe)
        after = tomllib.loads(recipe.to_toml())
        other = [
            f"{word} is {_shown(was)} there and {_shown(now)} here" for word, was, now in _differences(before, after)
        ]
        was_folder = self.folder.read_text("utf-8", "surrogateescape").strip() if self.folder.is_file() else ""
        if was_folder != str(folder.resolve()):
            other.append(f"its folder is {was_folder or 'unknown'}")
        if other:
            raise RunError(
                f"{self.path} holds another run: {'; '.join(other)}.",
                hint="Choose another place with -o RUN, or --overwrite to replace it.",
            )


def default_path(folder: Path, backbone: str) -> Path:
    """Return ``runs/NAME`` with a name made of the folder and the backbone."""
    return Path("runs") / f"{folder.resolve().name or 'pictures'}-{backbone}"


def environment(seed: int, device: str) -> dict[str, Any]:
    """Return what else a result may depend on."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": versions,
        "device": device,
        "seed": seed,
        "git": _git_commit(),
    }


def _git_commit() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _recipe_of(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}.", hint="Choose another place with -o RUN, or --overwrite."
        ) from None


def _differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for word in sorted(before.keys() | after.keys()):
        was, now = before.get(word), after.get(word)
        if isinstance(was, dict) and isinstance(now, dict):
            found += _differences(was, now, f"{prefix}{word}.")
        elif was != now:
            found.append((prefix + word, was, now))
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
