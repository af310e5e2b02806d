"""What a list shows of a run: method, backbone, images, score, size, and whether it is complete."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transfer_cli.data.split import Split
from transfer_cli.errors import TransferError
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.manage.find_runs import RANKING, kind_of
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.metrics.scores import HEADLINES
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.runs import lock
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted

COMPLETE, UNFINISHED, DAMAGED, WRITTEN = "complete", "unfinished", "damaged", "being written"
_NO_SCORE: Mapping[str, MetricValue] = {}


@dataclass(frozen=True)
class RunSummary:
    """A run or a ranking.

    Attributes
    ----------
    path : Path
    state : str
        complete, unfinished, damaged or being written.
    problem : str
        What is damaged, or which file is missing; empty if the state tells all.
    date : datetime
        When it was completed, or begun if it is not complete.
    method : str
        extract, finetune, ensemble, auto or rank; empty if it cannot be read.
    backbone : str
        Name of the network; of an ensemble the number of its members.
    images : int or None
    part : str
        The part that was scored: test, else val; cv: cross-validated, of a ranking; empty without a score.
    metric : str
        accuracy, or mean_average_precision with several labels per image.
    score : MetricValue or None
    bytes : int
        Size on disk.
    """

    path: Path
    state: str
    problem: str
    date: datetime
    method: str = ""
    backbone: str = ""
    images: int | None = None
    part: str = ""
    metric: str = ""
    score: MetricValue | None = None
    bytes: int = 0

    @classmethod
    def read(cls, path: Path) -> RunSummary:
        """Return the summary of a run or a ranking; what cannot be read is left out."""
        size = size_of(path)
        if kind_of(path) == RANKING:
            return cls(path, *_ranking_state(path), **_ranking_facts(path), bytes=size)
        run = RunDirectory(path)
        state, problem = state_of(run)
        part, metric, score = _score(run) if state in (COMPLETE, WRITTEN) else ("", "", None)
        date = _date(run, state)
        method, backbone = _method(run)
        return cls(path, state, problem, date, method, backbone, _images(run), part, metric, score, size)

    def name(self, root: Path) -> str:
        """Return the path below the folder that is listed."""
        return str(self.path.relative_to(root)) if self.path != root else str(self.path)

    def to_dict(self, root: Path) -> dict[str, Any]:
        """Return all fields as JSON can hold them."""
        facts = {**vars(self), "path": str(self.path), "date": self.date.isoformat(timespec="seconds")}
        return {"name": self.name(root), **facts, "method": self.method or None, "backbone": self.backbone or None}


def state_of(run: RunDirectory) -> tuple[str, str]:
    """Return whether a run is complete, and what is wrong with it; its files are compared with their digests."""
    if lock.is_busy(run.path):
        return WRITTEN, ""
    for path in (run.recipe, run.folder):
        if not path.is_file():
            return DAMAGED, f"{path} is missing"
    try:
        recipe = run.read_recipe()
    except TransferError as error:
        return DAMAGED, str(error).rstrip(".")
    if damage := run.damage():
        return DAMAGED, damage
    if not run.metrics.is_file():
        return UNFINISHED, ""
    classifier = recipe.get("classifier")
    has_model = not (isinstance(classifier, dict) and classifier.get("name") == "none")
    for path in (run.split, run.skipped, *([run.model] if has_model else [])):
        if not path.exists():
            return DAMAGED, f"{path} is missing"
    return COMPLETE, ""


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; links are not followed, hard links count once."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    sizes: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                status = Path(folder, name).lstat()
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def _method(run: RunDirectory) -> tuple[str, str]:
    """Return the method of a run, and its network or the number of its members."""
    try:
        recipe = run.read_recipe()
    except TransferError:
        return "", ""
    method, backbone = str(recipe.get("method", "")), recipe.get("backbone")
    name = str(backbone.get("name", "")) if isinstance(backbone, dict) else ""
    members = recipe.get("member")
    if method == "ensemble":
        name = counted(len(members), "member") if isinstance(members, list) else ""
        if run.bags.is_dir():
            name = counted(len([*run.bags.glob("*/")]), "bag")
    return "auto" if run.auto.is_file() else method, name


def _images(run: RunDirectory) -> int | None:
    with suppress(TransferError, OSError, ValueError):
        return len(Split.read(run.split).rows)
    return None


def _score(run: RunDirectory) -> tuple[str, str, MetricValue | None]:
    with suppress(TransferError):
        metrics = run.read_metrics()
        for part in ("test", "val"):
            for name in HEADLINES:
                if name in metrics.get(part, _NO_SCORE):
                    return part, name, metrics[part][name]
    return "", "", None


def _date(run: RunDirectory, state: str) -> datetime:
    """Return when a run was completed or begun: from its log, as a copy of a file has another date."""
    with suppress(TransferError, ValueError, TypeError, KeyError):
        wanted = "end" if state == COMPLETE else "begin"
        times = [event["time"] for event in run.read_events() if event.get("event") == wanted]
        if times:
            return datetime.fromisoformat(times[-1]).astimezone()
    return _changed(run.metrics, run.recipe, run.path)


def _changed(*paths: Path) -> datetime:
    """Return when the first of these files that exists was written."""
    for path in paths:
        with suppress(OSError):
            return datetime.fromtimestamp(path.stat().st_mtime, UTC).astimezone()
    return datetime.fromtimestamp(0, UTC)


def _ranking_state(path: Path) -> tuple[str, str, datetime]:
    ranking = RankingDirectory(path)
    date = _changed(ranking.ranking, ranking.settings, path)
    if not ranking.ranking.is_file():
        return UNFINISHED, "", date
    if not isinstance(_ranking(path).get("candidates"), list):
        return DAMAGED, f"{ranking.ranking} is damaged", date
    return COMPLETE, "", date


def _ranking_facts(path: Path) -> dict[str, Any]:
    """Return the best network of a ranking with its cross-validated score."""
    content, facts = _ranking(path), {"method": "rank"}
    with suppress(KeyError, TypeError, IndexError, ValueError):
        best = content["candidates"][0]
        accuracy = best["accuracy"]
        scored = {"part": "cv", "metric": "accuracy", "score": accuracy} if accuracy else {}
        return {**facts, "backbone": str(best["backbone"]), "images": int(content["images"]), **scored}
    return {**facts}


def _ranking(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        content = read_json(RankingDirectory(path).ranking)
        return content if isinstance(content, dict) else {}
    return {}
