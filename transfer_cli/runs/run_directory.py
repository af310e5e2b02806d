"""The directory of one run: the names of its files, and which process may write them."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transfer_cli.catalog import runtimes
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.errors import OutputError, RunConflictError, RunError
from transfer_cli.io import drafts
from transfer_cli.io.atomic import check_not_moved, flush, remove, write_error, write_json, write_text
from transfer_cli.io.disk_errors import NOTHING_LEFT
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.io.untrusted.toml_text import read_toml
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.ensemble import EnsembleRecipe
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs import earlier_results, lock
from transfer_cli.runs.entry import Directory, Entry, reading
from transfer_cli.runs.environment import environment
from transfer_cli.runs.metrics_file import check_metrics
from transfer_cli.runs.recipe_differences import recipe_differences
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.runs.wholeness import damage_of_bundle, damage_of_file
from transfer_cli.text import nan_to_null, null_to_nan, valid_json

AnyRecipe = Recipe | EnsembleRecipe | AutoRecipe
_DRAFT = re.compile(r"\.((features|arrays)-.*|.+\.[0-9a-f]{8}(\..+)?)")
_PER_PART = ("predictions", "confusion", "curves")


@dataclass(frozen=True, init=False)
class RunDirectory(Directory):
    """A run on disk. No other module joins these names."""

    recipe = Entry("recipe.toml", is_result=False)  # the recipe with every choice made
    folder = Entry("folder.txt", is_result=False)  # path of the image folder or CSV file
    images = Entry("images.txt", is_result=False)  # folder of the images if the paths of a CSV file start elsewhere
    class_map = Entry("class_map.csv", is_result=False)  # the table of --class-map, as it was given
    omit = Entry("omit.csv", is_result=False)  # the table of --omit, as it was given
    command = Entry("command.txt", is_result=False)  # the command as it was typed
    environment = Entry("environment.json", is_result=False)  # versions, device, random seed and git commit
    split = Entry("split.csv", is_result=False)  # path, digest, class and split of each image
    bags = Entry("bags", is_result=False)  # the members of a bagged run, one run each
    skipped = Entry("skipped.csv")  # path and reason of each file that could not be read
    history = Entry("history.csv")  # each epoch, or each trial of a classifier, and its score on val
    events = Entry("events.jsonl")  # what happened, one JSON object per line
    metrics = Entry("metrics.json")  # the last file of a run: if it is there, the run is complete
    plan = Entry("plan.json")  # the epochs that fit into a time budget
    unlabelled = Entry("unlabelled.csv")  # pseudo-labels, and whether they were trained on
    features = Entry("features.parquet")  # path, digest, class, split and features of each image
    model = Entry("model")  # the bundle
    checkpoints = Entry("checkpoints")  # the last and the best epoch of a fine-tuning
    plots = Entry("plots")
    map = Entry("map.csv")  # position of each image on the map of the features
    members = Entry("members.json")  # comparison of the members of an ensemble
    auto = Entry("auto.json")  # request and progress of `auto`
    steps = Entry("steps")  # intermediate results of `auto`: a ranking, and runs
    report = Entry("report.html")
    suspects = Entry("suspects.csv")  # mistakes of the model that may be wrong labels, as in a data check
    leaks = Entry("leaks.csv")  # images that are in two parts of the split, or in two classes
    earlier_images = Entry("earlier_images.npz")  # training images of the runs that its network started from
    earlier_leaks = Entry("leaks_of_earlier_run.csv")  # held-out images among them
    clean_split = Entry("split_without_leaks.csv")  # the split with near-duplicates of training images in train
    labels = Entry("labels.csv")  # path and class of each image, without a split: it is to be split anew
    evaluations = Entry("evaluations")  # evaluations on other folders, one directory each
    explanations = Entry("explanations")  # saliency maps
    tensorboard = Entry("tensorboard")  # logs for TensorBoard

    def predictions(self, part: str) -> Path:
        """Return the table of the predictions on one part of the split."""
        return self.path / f"predictions_{part}.csv"

    def confusion(self, part: str) -> Path:
        """Return the confusion matrix of one part of the split."""
        return self.path / f"confusion_{part}.csv"

    def curves(self, part: str) -> Path:
        """Return the table of the ROC, precision-recall and reliability curves of one part of the split."""
        return self.path / f"curves_{part}.csv"

    def bag(self, number: int) -> RunDirectory:
        """Return the run that is trained on one bootstrap sample, counted from 1."""
        return RunDirectory(self.bags / f"{number:02}")

    def is_complete(self, *, with_model: bool, with_features: bool) -> bool:
        """Return whether the run was completed and still has its results, undamaged."""
        self.restore_earlier()
        files = [self.metrics, self.split, self.skipped, *([self.features] if with_features else [])]
        exist = all(path.is_file() for path in files) and (self.model.is_dir() or not with_model)
        return exist and self.damage() is None

    def damage(self) -> str | None:
        """Return which result of the run is empty or damaged, as after a power cut; None if there is none.

        Files are compared with what is known of them: their beginning and end, and those of the model their digest.
        """
        files = (self.metrics, self.split, self.skipped, self.features)
        faults = (damage_of_file(path) for path in files if path.is_file())
        model = damage_of_bundle(self.model) if self.model.is_dir() else None
        return next(filter(None, faults), model)

    def restore_earlier(self) -> None:
        """Restore the results that an `overwrite` was to replace, if its process was killed.

        A new run that is complete, or that can be continued, is kept.
        """
        if earlier_results.exist(self.path) and not lock.is_busy(self.path) and not lock.is_own(self.path):
            self._end_overwrite(failed=False)

    def has_results(self, recipe: AnyRecipe) -> bool:
        """Return whether anything is there that may have taken hours; the bags of an ensemble are not its results."""
        # While a run is overwritten, the model is that of the earlier run.
        model = () if self.replaces_another else (self.model,)
        results = (self.features, self.checkpoints, self.metrics, *model, self.steps)
        return any(path.exists() for path in results) or (self._own_bags(recipe) is None and self.bags.exists())

    def check_free(
        self, recipe: AnyRecipe, folder: Path, *, command: Sequence[str] = (), overwrite: bool = False
    ) -> None:
        """Raise RunError unless `claim` may write this run; nothing is changed.

        Raises
        ------
        RunConflictError
            If the directory holds a run of another recipe or folder, or something that is not a run.
        RunError
            If it is inside the image folder, or another process is writing it.
        """
        elsewhere = "Choose another place with -o RUN."
        if self.path.resolve().is_relative_to(folder.resolve()):
            raise RunError(f"{self.path} would be inside the image folder {folder}, like a class.", hint=elsewhere)
        if self.path.exists() and not self.path.is_dir():
            file = f"{self.path} is a file. Expected the directory of a run."
            raise RunConflictError(self.path, ["it is a file"], file, hint=elsewhere)
        # First: a run that another process has begun to write may look like anything.
        if lock.is_busy(self.path) and not overwrite and (others := self._others(recipe, folder, command)):
            busy = f"Another process is writing another run to {self.path}: {'; '.join(others)}."
            raise RunConflictError(self.path, others, busy, hint=elsewhere)
        lock.check_free(self.path)
        self.restore_earlier()
        if self._is_run():
            if self.has_results(recipe) and not overwrite:
                self.check_matches(recipe, folder, command)
        elif self.path.is_dir():
            ours = (self._own_bags(recipe), self.path / lock.LOCK_FILE)
            if any(path not in ours for path in self.path.iterdir()):
                foreign = f"{self.path} is not empty and holds no run."
                raise RunConflictError(self.path, ["it holds other files"], foreign, hint=elsewhere)

    def _others(self, recipe: AnyRecipe, folder: Path, command: Sequence[str]) -> list[str]:
        """Return how a run that another process is writing differs from this one."""
        return self.differences(recipe, folder, command) if self._is_run() else []

    def claim(self, recipe: AnyRecipe, folder: Path, *, command: Sequence[str] = (), overwrite: bool = False) -> None:
        """Lock the directory for this process and write the recipe and the folder.

        An unfinished run of the same recipe keeps its split.csv and continues from its last checkpoint. With
        `overwrite` the results of an earlier run are replaced, but not its split.csv, so that the new run has the same
        test images; they are kept, and its model remains in use, until the new run is complete (see `complete`).

        Raises
        ------
        RunError
            As `check_free`, or if another process is writing the run.
        OutputError
            If the directory cannot be written.
        """
        self.check_free(recipe, folder, command=command, overwrite=overwrite)
        self.lock()
        # Once more: another process may have written the run since.
        self.check_free(recipe, folder, command=command, overwrite=overwrite)
        if damage_of_file(self.split):
            remove(self.split)
        if self._is_run() and (overwrite or not self.has_results(recipe)):
            if not overwrite and self.differences(recipe, folder):
                # A run without results has nothing to lose: another recipe may have its place, with its own split.
                remove(self.split)
            self._keep_results()
            self._remove_results()
            if self._own_bags(recipe) is None:
                remove(self.bags)
        self._remove_drafts()
        self._drop_torn_line()
        write_text(self.recipe, recipe.to_toml())
        write_text(self.folder, f"{folder.resolve()}\n")
        write_text(self.command, shlex.join(command) + "\n")

    def complete(self, metrics: Mapping[str, object]) -> None:
        """Write metrics.json, which marks the run as complete, and remove the results that it replaces."""
        write_json(self.metrics, nan_to_null(metrics))
        if earlier_results.exist(self.path):
            earlier_results.forget(self.path)

    @property
    def replaces_another(self) -> bool:
        """Whether an earlier run is kept until this one is complete."""
        return earlier_results.exist(self.path)

    def write_images(self, images: Path | None) -> None:
        """Write the folder that the paths of the split are relative to, unless it is None: `folder` implies it."""
        if images is None:
            remove(self.images)
        else:
            write_text(self.images, f"{images.resolve()}\n")

    def lock(self) -> None:
        """Let no other process write this run; the lock is freed when this process ends."""
        lock.acquire(self.path)

    @contextmanager
    def releasing_lock(self) -> Iterator[None]:
        """Free the lock of `claim` at the end of the block; if it fails, restore the results that it was to replace.

        An error of a full disk tells that the unfinished run is kept, if it is.
        """
        try:
            yield
        except BaseException as error:
            is_own = lock.is_own(self.path)
            if earlier_results.exist(self.path) and is_own:
                # An interrupted training that can be continued is.
                self._end_overwrite(failed=not isinstance(error, KeyboardInterrupt))
            is_kept = is_own and self._is_run() and not self.metrics.is_file()
            if is_kept and isinstance(error, OutputError) and NOTHING_LEFT in str(error):
                raise OutputError(str(error).replace(NOTHING_LEFT, self._kept()), hint=error.hint) from error.__cause__
            raise
        finally:
            lock.release(self.path)

    def _kept(self) -> str:
        typed = shlex.split(read_regular_text(self.command)) if self.command.is_file() else []
        without = " without --overwrite" if "--overwrite" in typed else ""
        return f"The unfinished run is kept; the same command{without} continues it."

    def check_matches(self, recipe: AnyRecipe, folder: Path, command: Sequence[str] = ()) -> None:
        """Raise RunConflictError with every difference unless the run is of this recipe and this folder."""
        if differences := self.differences(recipe, folder, command):
            raise RunConflictError(self.path, differences)

    def differences(self, recipe: AnyRecipe, folder: Path, command: Sequence[str] = ()) -> list[str]:
        """Return in what the run differs from this recipe and folder, one phrase each; `command` as it was typed."""
        typed = TypedOptions.read(self.command), TypedOptions(command)
        differences = recipe_differences(self.read_recipe(), tomllib.loads(recipe.to_toml()), *typed)
        return [*differences, *self.folder_difference(folder)]

    def folder_difference(self, folder: Path) -> list[str]:
        """Return one phrase if the run is of another image folder or CSV file."""
        was, now = read_regular_text(self.folder).strip() if self.folder.is_file() else "", str(folder.resolve())
        return [] if was == now else [f"the folder is {was or 'unknown'} there and {now} here"]

    def write_environment(self, seed: int, device: str) -> None:
        """Write the versions, the device and the seed that the results may depend on."""
        write_json(self.environment, environment(seed, device))

    def versions(self) -> dict[str, str | None]:
        """Return the package versions in environment.json; raise RunError if it cannot be read."""
        versions: dict[str, str | None] = self.read_environment()["versions"]
        return versions

    def read_environment(self) -> dict[str, Any]:
        """Return the content of environment.json; raise RunError if it cannot be read."""
        with reading(self.environment):
            found = read_json(self.environment)
            if not isinstance(found, dict) or not isinstance(found.get("versions"), dict):
                raise ValueError("it has no versions")
            return found

    def read_recipe(self) -> dict[str, Any]:
        """Return the content of recipe.toml; raise RunError if it cannot be read."""
        with reading(self.recipe, "Choose another place with -o RUN, or add --overwrite to replace the run."):
            return read_toml(self.recipe)[1]

    def read_metrics(self) -> dict[str, Any]:
        """Return the content of metrics.json; raise RunError if it cannot be read."""
        with reading(self.metrics, "Add --overwrite to train the model again."):
            scored = [part for part in PARTS if self.predictions(part).is_file()]
            metrics: dict[str, Any] = null_to_nan(check_metrics(read_json(self.metrics), scored))
            return metrics

    def runtime(self) -> str | None:
        """Return the runtime in recipe.toml, or None if there is none."""
        if not self._is_run():
            return None
        section = self.read_recipe().get("inference", {})
        runtime = section.get("runtime") if isinstance(section, dict) else None
        return runtime if runtime in runtimes.names() else None

    def log(self, event: str, **values: object) -> None:
        """Append an event to events.jsonl, with the time; a line is written in one piece."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = valid_json(json.dumps({"event": event, "time": now, **nan_to_null(values)}, ensure_ascii=False)) + "\n"
        try:
            check_not_moved(self.events)
            with self.events.open("a", encoding="utf-8") as events:
                events.write(line)
            flush(self.events)
        except OSError as error:
            check_not_moved(self.events)
            raise write_error(error, self.events) from error

    def read_events(self) -> list[dict[str, Any]]:
        """Return all events, or none if there is no log; raise RunError if it cannot be read."""
        if not self.events.is_file():
            return []
        with reading(self.events, "Start this run again with --overwrite."):
            # Not splitlines: file names may hold other characters that Python takes for the end of a line.
            lines = read_regular_text(self.events).split("\n")
            events = [json.loads(line) for line in lines if line]
            if not all(isinstance(event, dict) for event in events):
                raise ValueError("expected one object per line")
            return events

    def _drop_torn_line(self) -> None:
        """Remove the half line that a killed process may have left at the end of the log, so that the next is whole."""
        text = read_regular_text(self.events) if self.events.is_file() else ""
        if text and not text.endswith("\n"):
            write_text(self.events, text[: text.rfind("\n") + 1])

    def _own_bags(self, recipe: AnyRecipe) -> Path | None:
        """Return the folder of the bags of an ensemble, which are trained before it; None for other runs."""
        return self.bags if isinstance(recipe, EnsembleRecipe) else None

    def _is_run(self) -> bool:
        return self.recipe.is_file() and self.folder.is_file()

    def _remove_drafts(self) -> None:
        """Remove temporary files that a killed process left behind."""
        for folder in (self.path, self.checkpoints, self.plots):
            for path in folder.glob(".*") if folder.is_dir() else ():
                if _DRAFT.fullmatch(path.name):
                    drafts.discard(path)

    def _keep_results(self) -> None:
        """Keep the results of a complete run until the new ones are complete."""
        if not earlier_results.exist(self.path) and self.metrics.is_file() and self.damage() is None:
            inputs = (self.recipe, self.folder, self.images, self.class_map, self.omit, self.command)
            kept = (*inputs, self.environment, self.split, self.bags, *self._results())
            earlier_results.keep(self.path, kept)

    def _end_overwrite(self, *, failed: bool) -> None:
        """Remove the kept results if the new ones are complete; restore them unless the training can be continued."""
        unfinished = (self.checkpoints, self.steps, self.bags)
        if self.metrics.is_file() and not failed:
            earlier_results.forget(self.path)
        elif failed or not any(path.exists() for path in unfinished):
            earlier_results.restore(self.path, [*self._results(), self.bags], self.metrics.name)

    def _results(self) -> list[Path]:
        """Return the paths of the results, those that mark the run as complete first."""
        entries = [entry for entry in vars(RunDirectory).values() if isinstance(entry, Entry) and entry.is_result]
        tables = [path for name in _PER_PART for path in self.path.glob(f"{name}_*.csv")]
        return [*dict.fromkeys([self.metrics, *(self.path / entry.name for entry in entries), *tables])]

    def _remove_results(self) -> None:
        # In this order: a process killed in between leaves no run that looks complete.
        for path in self._results():
            if path != self.model or not earlier_results.exist(self.path):
                remove(path)


def default_path(*words: str) -> Path:
    """Return ``runs/NAME``, the name made of some words such as the folder and the backbone."""
    return Path("runs") / "-".join(words)
