"""Everything about one run: settings, split, scores, files, and how to use it next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.bundle.repeats_folder import check_single_run
from transfer_cli.catalog.backbones import find
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.skipped import read_skipped
from transfer_cli.data.split import Split
from transfer_cli.errors import RunError, TransferError
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.manage.changed_settings import settings_of_ranking, settings_of_run
from transfer_cli.manage.find_runs import RANKING, kind_of
from transfer_cli.manage.run_summary import COMPLETE, DAMAGED, UNFINISHED, WRITTEN, RunSummary, size_of
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.scores import summary, value_text
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs.recipe_differences import ChangedSetting
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import shell_command

_FLAG = "--overwrite"


@dataclass(frozen=True)
class RunDetails:
    """A run or a ranking, as it is shown.

    Attributes
    ----------
    summary : RunSummary
    command : str
        As it was typed; empty if it was made from Python.
    folder : str
        The image folder or CSV file.
    settings : tuple of ChangedSetting
        Settings that are not the defaults.
    split : Split or None
    skipped : int
        Number of images that could not be read.
    metrics : mapping
        As in metrics.json.
    members : tuple of str
        Of an ensemble: the names of its members.
    files : mapping of str to int
        Bytes of each file and folder.
    next : tuple of str
        Commands to type next.
    """

    summary: RunSummary
    command: str
    folder: str
    settings: tuple[ChangedSetting, ...]
    split: Split | None
    skipped: int
    metrics: Mapping[str, Mapping[str, MetricValue]]
    members: tuple[str, ...]
    files: Mapping[str, int]
    next: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> RunDetails:
        """Return all about a run or a ranking; what is damaged is left out.

        Raises
        ------
        RunError
            If it is neither.
        MissingModelError
            If it is the folder of a repeated training.
        """
        kind = kind_of(path)
        if kind is None:
            check_single_run(path)
            raise RunError(
                f"{path} is not a run. Expected a folder that a training command or rank wrote.",
                hint="List the runs: transfer-cli runs list",
            )
        return cls._of_ranking(path) if kind == RANKING else cls._of_run(path)

    @classmethod
    def _of_run(cls, path: Path) -> RunDetails:
        run, found, split = RunDirectory(path), RunSummary.read(path), None
        with suppress(TransferError, OSError, ValueError):
            split = Split.read(run.split)
        settings: list[ChangedSetting] = []
        members: tuple[str, ...] = ()
        with suppress(TransferError):
            settings = settings_of_run(run, split.task if split else SINGLE_LABEL)
            listed = run.read_recipe().get("member", ())
            members = tuple(str(each.get("run")) for each in listed if isinstance(each, dict))
        skipped, metrics = 0, {}
        with suppress(TransferError, OSError):
            skipped = len(read_skipped(run.skipped))
        with suppress(TransferError):
            metrics = run.read_metrics() if found.state in (COMPLETE, WRITTEN) else {}
        command, folder = _text(run.command), _text(run.folder)
        following = tuple(_next_commands(found, command, has_model=run.model.is_dir()))
        return cls(found, command, folder, tuple(settings), split, skipped, metrics, members, _files(path), following)

    @classmethod
    def _of_ranking(cls, path: Path) -> RunDetails:
        found, about = RunSummary.read(path), RankingDirectory(path).read_settings()
        words = tuple(map(str, about.get("command", ())))
        settings = settings_of_ranking(about["settings"], TypedOptions(words)) if "settings" in about else []
        folder, command = str(about.get("folder", "")), shell_command(*words)
        following = tuple(_next_of_ranking(path, folder) if found.state == COMPLETE else filter(None, [command]))
        return cls(found, command, folder, tuple(settings), None, 0, {}, (), _files(path), following)

    def lines(self) -> Iterator[str]:
        """Yield the lines of text."""
        found = self.summary
        state = f"{found.state}: {found.problem}" if found.problem else found.state
        yield f"run       {found.path} ({state})"
        yield f"date      {found.date:%Y-%m-%d %H:%M}"
        yield f"method    {found.method or 'unknown'}{f', {found.backbone}' if found.backbone else ''}"
        if self.members:
            yield f"members   {', '.join(self.members)}"
        yield f"images    {self.folder or 'unknown'}"
        if self.command:
            yield f"command   {self.command}"
        changed = [f"{each.option} {each.value} (default: {each.default})" for each in self.settings]
        yield from _block("settings", changed or ["all defaults"])
        if self.split:
            yield f"split     {', '.join(f'{count} {part}' for part, count in self.split.counts().items())}"
        if self.skipped:
            yield f"skipped   {self.skipped} (reasons: {RunDirectory(found.path).skipped})"
        yield from _block("scores", [summary(part, metrics) for part, metrics in self.metrics.items()])
        if not self.metrics and found.score:
            yield f"scores    {found.part} {found.metric} {_interval(found.score)}"
        yield from _block("files", [f"{name} ({_size(size)})" for name, size in self.files.items()])

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        return {
            **self.summary.to_dict(self.summary.path),
            "command": self.command or None,
            "folder": self.folder or None,
            "settings": [vars(each) for each in self.settings],
            "split": self.split and self.split.counts(),
            "skipped": self.skipped,
            "metrics": self.metrics,
            "members": list(self.members),
            "files": dict(self.files),
            "next": list(self.next),
        }


def _next_commands(found: RunSummary, command: str, *, has_model: bool) -> Iterator[str]:
    run = shell_command(found.path)
    if found.state == UNFINISHED and command:
        yield command
    elif found.state == DAMAGED and command:
        yield command if _FLAG in shlex.split(command) else f"{command} {_FLAG}"
    elif found.state == COMPLETE and has_model:
        yield f"transfer-cli predict {run} YOUR_IMAGES --format table"
        yield f"transfer-cli evaluate {run} OTHER_LABELLED_IMAGES"
        yield f"transfer-cli report {run}"
        yield f"transfer-cli export {run}"


def _next_of_ranking(path: Path, folder: str) -> Iterator[str]:
    """Yield the command that trains the best network, if one is recommended."""
    with suppress(OSError, ValueError, KeyError, TypeError, TransferError):
        best = read_json(RankingDirectory(path).ranking)["best"]
        usual = find(best["backbone"]).weights
        weights = [] if best["weights"] == usual else ["--weights", best["weights"]]
        yield shell_command(*["transfer-cli", "extract", folder, "--backbone", best["backbone"], *weights])


def _interval(score: MetricValue) -> str:
    low, high = score["low"], score["high"]
    return value_text(score) + ("" if low is None or high is None else f" (95 % interval {low:.3f} to {high:.3f})")


def _block(title: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{title if number == 0 else '':9} {line}"


def _text(path: Path) -> str:
    try:
        return read_regular_text(path).strip() if path.is_file() else ""
    except OSError:
        return ""


def _files(path: Path) -> dict[str, int]:
    """Return the bytes of each file and folder of a run, without hidden ones."""
    visible = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    return {f"{each.name}/" if each.is_dir() else each.name: size_of(each) for each in visible}


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 10**6 else f"{size / 1e3:.1f} kB" if size >= 10**3 else f"{size} bytes"
