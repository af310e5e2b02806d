"""The directory of one run: who may write there, and what has happened."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transfer_cli.catalog import runtimes
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import refused, remove, write_json, write_text
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.environment import environment
from transfer_cli.runs.files import RunFiles

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Written = Recipe | EnsembleRecipe | AutoRecipe
"""What a run says of the choices that it was made with."""
_HELD: dict[Path, int] = {}
_DRAFT = re.compile(r"\.((features|scratch)-.*|.+\.[0-9a-f]{8}(\..+)?)")


@dataclass(frozen=True)
class RunDirectory(RunFiles):
    """A run on disk: who may write it, and what is in it."""

    def bag(self, number: int) -> RunDirectory:
        """Return the run that learns from one bootstrap sample, from 1 on."""
        return RunDirectory(self.bags / f"{number:02}")

    def is_complete(self, *, with_model: bool, with_features: bool) -> bool:
        """Return whether the run came to its end and still has what it made."""
        made = [self.metrics, self.split, self.skipped, *([self.features] if with_features else [])]
        return all(path.is_file() for path in made) and (self.model.is_dir() or not with_model)

    def must_be_free(self, recipe: Written, folder: Path, *, overwrite: bool = False) -> None:
        """Raise RunError unless `begin` may write this run; nothing is changed.

        Raises
        ------
        RunError
            When the directory holds a run of another recipe or folder, or something that is no run.
        """
        if self.path.resolve().is_relative_to(folder.resolve()):
            raise RunError(
                f"The run {self.path} would lie inside the folder of pictures {folder}, and be taken for a class.",
                hint="Choose a place outside with -o RUN.",
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file. Expected the directory of a run.")
        if self._is_run():
            if self.has_results(recipe) and not overwrite:
                self.must_match(recipe, folder)
        elif self.path.is_dir() and any(path != self._own_bags(recipe) for path in self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and holds no run.", hint="Choose another place with -o RUN.")

    def begin(self, recipe: Written, folder: Path, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Claim the directory for a recipe and a folder.

        An unfinished run of the same recipe keeps its split.csv and goes on from its last checkpoint if it has one.
        With `overwrite` the results of an earlier run are removed and its split.csv is kept, so that the new one has
        the same test pictures.

        Raises
        ------
        RunError
            As `must_be_free`, or when another process is writing the run.
        OutputError
            When it cannot be written.
        """
        self.must_be_free(recipe, folder, overwrite=overwrite)
        self.hold()
        if self._is_run() and (overwrite or not self.has_results(recipe)):
            if not overwrite and self._differences(recipe, folder):
                # A run that never came to a result holds nothing: another recipe has its place, and its own parts.
                remove(self.split)
            self._clear()
            if self._own_bags(recipe) is None:
                remove(self.bags)
        self._sweep()
        self._mend_events()
        write_text(self.recipe, recipe.to_toml())
        write_text(self.folder, f"{folder.resolve()}\n")
        write_text(self.command, shlex.join(command) + "\n")

    def _own_bags(self, recipe: Written) -> Path | None:
        """Return where the bags are, which come before the run that joins them; None for a run that has none."""
        return self.bags if isinstance(recipe, EnsembleRecipe) else None

    def _is_run(self) -> bool:
        return self.recipe.is_file() and self.folder.is_file()

    def has_results(self, recipe: Written) -> bool:
        """Return whether there is anything that hours may have gone into; bags are none to the run that joins them."""
        made = (self.features, self.checkpoints, self.metrics, self.model, self.steps)
        return any(path.exists() for path in made) or (self._own_bags(recipe) is None and self.bags.exists())

    @contextmanager
    def released(self) -> Iterator[None]:
        """Give up the claim of `begin` when the block ends."""
        try:
            yield
        finally:
            if (handle := _HELD.pop(self.path.resolve(), None)) is not None:
                os.close(handle)

    def hold(self) -> None:
        """Let no other process write this run; the system gives it free when this one dies, however it dies."""
        if fcntl is None or self.path.resolve() in _HELD:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise refused(error, self.path) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunError(
                f"Another process is writing the run {self.path} at this moment.",
                hint="Wait until it has ended, or choose another place with -o RUN.",
            ) from None
        except OSError:
            # A file system that knows no locks, such as some network drives.
            os.close(handle)
            return
        _HELD[self.path.resolve()] = handle

    def write_environment(self, seed: int, device: str) -> None:
        """Write what else a result may depend on."""
        write_json(self.environment, environment(seed, device))

    def versions(self) -> dict[str, str | None]:
        """Return the versions in environment.json."""
        versions: dict[str, str | None] = json.loads(self.environment.read_text("utf-8"))["versions"]
        return versions

    def read_recipe(self) -> dict[str, Any]:
        """Return what recipe.toml says; raise RunError when it cannot be read."""
        return _recipe_of(self.recipe)

    def read_metrics(self) -> dict[str, Any]:
        """Return what metrics.json says; raise RunError when it cannot be read."""
        try:
            metrics: dict[str, Any] = json.loads(self.metrics.read_text("utf-8", "surrogateescape"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.metrics} cannot be read: {error}.", hint="Add --overwrite to make it anew."
            ) from None
        return metrics

    def log(self, event: str, **facts: Any) -> None:
        """Append one event; a line is written in one piece."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": now, **facts}, ensure_ascii=False) + "\n"
        try:
            with self.events.open("a", encoding="utf-8", errors="surrogateescape") as events:
                events.write(line)
        except OSError as error:
            raise refused(error, self.events) from error

    def logged(self) -> list[dict[str, Any]]:
        """Return the events so far."""
        if not self.events.is_file():
            return []
        try:
            # Not splitlines: names may hold what Python takes for the end of a line, too.
            lines = self.events.read_text("utf-8", "surrogateescape").split("\n")
            return [json.loads(line) for line in lines if line]
        except ValueError as error:
            raise RunError(
                f"{self.events} cannot be read: {error}.", hint="Begin this run anew with --overwrite."
            ) from None

    def _mend_events(self) -> None:
        # Half a line is what a process left that was killed, or had no room: the next one must not be glued to it.
        text = self.events.read_text("utf-8", "surrogateescape") if self.events.is_file() else ""
        if text and not text.endswith("\n"):
            write_text(self.events, text[: text.rfind("\n") + 1])

    def _sweep(self) -> None:
        # What a killed process left behind: drafts, which never got their names.
        for folder in (self.path, self.checkpoints, self.plots):
            for path in folder.glob(".*") if folder.is_dir() else ():
                if _DRAFT.fullmatch(path.name):
                    remove(path)

    def _clear(self) -> None:
        results = (self.metrics, self.model, self.features, self.checkpoints, self.plots)
        pages = (self.report, self.leaks, self.evaluations, self.explanations, self.tensorboard, self.map)
        for path in (
            *results,
            *pages,
            self.skipped,
            self.history,
            self.unlabelled,
            self.events,
            self.plan,
            self.members,
            self.auto,
            self.steps,
        ):
            remove(path)
        for name in ("predictions", "confusion", "curves"):
            for path in self.path.glob(f"{name}_*.csv"):
                remove(path)

    def runtime(self) -> str | None:
        """Return the runtime in recipe.toml, or None where there is none."""
        if not self._is_run():
            return None
        section = _recipe_of(self.recipe).get("inference", {})
        found = section.get("runtime") if isinstance(section, dict) else None
        return found if found in runtimes.names() else None

    def must_match(self, recipe: Written, folder: Path) -> None:
        """Raise RunError, saying every difference, unless the run is of this recipe and this folder."""
        if other := self._differences(recipe, folder):
            raise RunError(
                f"{self.path} holds another run: {'; '.join(other)}.",
                hint="Choose another place with -o RUN, or --overwrite to replace it.",
            )

    def _differences(self, recipe: Written, folder: Path) -> list[str]:
        before, after = _recipe_of(self.recipe), tomllib.loads(recipe.to_toml())
        if before.get("method") != after["method"]:
            return [f"it is a run of {before.get('method')}"]
        found = _differences(before, after)
        other = [f"{word} is {_shown(was)} there and {_shown(now)} here" for word, was, now in found]
        was_folder = self.folder.read_text("utf-8", "surrogateescape").strip() if self.folder.is_file() else ""
        if was_folder != str(folder.resolve()):
            other.append(f"its folder is {was_folder or 'unknown'}")
        return other


def default_path(*words: str) -> Path:
    """Return ``runs/NAME`` with a name made of some words: of the folder, then the backbone."""
    return Path("runs") / "-".join(words)


def _recipe_of(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}.", hint="Choose another place with -o RUN, or --overwrite."
        ) from None


def _differences(before: dict[Any, Any], after: dict[Any, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for word in sorted(before.keys() | after.keys(), key=str):
        was, now = before.get(word), after.get(word)
        if isinstance(was, list) and isinstance(now, list):
            was, now = (dict(enumerate(items, start=1)) for items in (was, now))
        if isinstance(was, dict) and isinstance(now, dict):
            found += _differences(was, now, f"{prefix}{word}.")
        elif was != now:
            found.append((f"{prefix}{word}", was, now))
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
