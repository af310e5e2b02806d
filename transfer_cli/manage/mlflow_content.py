"""What MLflow is told of a run: parameters, metrics, epochs as the history of metrics, tags and files."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from transfer_cli.io.csv_tables import read_table
from transfer_cli.metrics.intervals import MetricValue
from transfer_cli.regular_file import read_regular_text
from transfer_cli.runs.completed_run import FinishedRun

_INVALID = re.compile(r"[^/\w.\- ]")
_MAX_LENGTH = 250
"""MLflow refuses longer names, and since long also values of 500 characters or more in some stores."""
_LEFT_OUT = ("checkpoints", "bags", "steps")
"""Folders that are not copied: of interrupted trainings, and runs of their own."""


@dataclass(frozen=True)
class MlflowContent:
    """A run as MLflow holds it.

    Attributes
    ----------
    name : str
    experiment : str
        Name of the image folder.
    params : mapping of str to str
        Settings of the recipe.
    metrics : sequence of (name, value, step)
        The scores with step 0, and those of each epoch with its number.
    tags : mapping of str to str
    artifacts : sequence of Path
        Files and folders to copy.
    begun, ended : int or None
        In milliseconds since 1970.
    """

    name: str
    experiment: str
    params: Mapping[str, str]
    metrics: tuple[tuple[str, float, int], ...]
    tags: Mapping[str, str]
    artifacts: tuple[Path, ...]
    begun: int | None
    ended: int | None

    @classmethod
    def of(cls, finished: FinishedRun) -> MlflowContent:
        """Return the content of a complete run."""
        run, source = finished.directory, finished.source
        path = run.path.resolve()
        # Another place is another run; so is the same place after a new training.
        content = (str(path).encode("utf-8", "surrogateescape"), run.recipe.read_bytes(), run.metrics.read_bytes())
        digest = hashlib.sha256(b"\0".join(content)).hexdigest()
        command = read_regular_text(run.command).strip() if run.command.is_file() else ""
        visible = (each for each in sorted(run.path.iterdir()) if not each.name.startswith("."))
        times = {event.get("event"): _milliseconds(event.get("time")) for event in run.read_events()}
        params = {**_flat(finished.recipe), "images": str(len(finished.split.rows)), "folder": str(source)}
        return cls(
            path.name,
            (source.stem if source.suffix else source.name) or "images",
            {_name(key): value[: 2 * _MAX_LENGTH] for key, value in params.items()},
            (*_scores(finished.metrics), *_history(run.history)),
            {
                "mlflow.source.name": "transfer-cli",
                "transfer_cli.run": str(path),
                "transfer_cli.command": command,
                "transfer_cli.digest": digest,
            },
            tuple(each for each in visible if each.name not in _LEFT_OUT),
            times.get("begin"),
            times.get("end"),
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as one mapping, items of lists counted from 1 as in ``stage.1.epochs``."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value, start=1)}
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat


def _scores(metrics: Mapping[str, Mapping[str, MetricValue]]) -> Iterator[tuple[str, float, int]]:
    """Yield the metrics of each part, with their intervals; undefined ones are left out."""
    for part, of_part in metrics.items():
        for name, metric in of_part.items():
            numbers = {"": metric["value"], "_low": metric["low"], "_high": metric["high"]}
            for suffix, number in numbers.items():
                if number is not None and math.isfinite(number):
                    # A store of files has no metric below another one: of a class it is recall.CLASS.
                    yield _name(f"{part}/{name.replace('/', '.')}{suffix}"), float(number), 0


def _history(path: Path) -> Iterator[tuple[str, float, int]]:
    """Yield the numbers of history.csv, with the epoch, or the number of the trial of a classifier, as the step."""
    for number, row in enumerate(read_table(path, ()) if path.is_file() else (), start=1):
        prefix = ("refit/" if row.get("refit") == "yes" else "epoch/") if "epoch" in row else "tuning/"
        step = int(row.get("epoch") or number)
        for name, text in row.items():
            value = _number(text)
            if value is not None and name != "epoch":
                yield _name(f"{prefix}{name}"), value, step


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _name(name: str) -> str:
    return _INVALID.sub("_", name)[:_MAX_LENGTH]


def _milliseconds(time: object) -> int | None:
    try:
        return int(datetime.fromisoformat(str(time)).timestamp() * 1000)
    except ValueError:
        return None
