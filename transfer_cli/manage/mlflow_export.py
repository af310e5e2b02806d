"""Copy a run to MLflow: a store in a folder, which `mlflow ui` shows."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer_cli.errors import MissingExtraError, OutputError
from transfer_cli.io.atomic import make_folder, write_error
from transfer_cli.manage.mlflow_content import MlflowContent
from transfer_cli.progress import SILENT, Progress
from transfer_cli.runs.completed_run import FinishedRun

_DATABASE, _ARTIFACTS = "mlflow.db", "artifacts"
_REQUIRED = ("mlflow", "sqlalchemy")  # mlflow-skinny has no store
_MOST_METRICS, _MOST_PARAMS = 500, 100
"""Of one request; MLflow refuses larger ones."""


@dataclass(frozen=True)
class MlflowRun:
    """A run that MLflow holds.

    Attributes
    ----------
    run_id : str
    experiment : str
    store : str
        What ``mlflow ui --backend-store-uri`` takes.
    existed : bool
        Whether an earlier command copied the same run.
    """

    run_id: str
    experiment: str
    store: str
    existed: bool


def export_to_mlflow(path: Path, folder: Path, progress: Progress = SILENT) -> MlflowRun:
    """Copy a complete run to an MLflow store: parameters, metrics, epochs as the history of metrics, files.

    Parameters
    ----------
    path : Path
        The run. If the store has it already, nothing is written.
    folder : Path
        The folder of the store. A new one holds ``mlflow.db``, an SQLite database, and ``artifacts``; a folder of runs
        as earlier versions of MLflow wrote it, such as ``mlruns``, is continued.
    progress : Progress

    Raises
    ------
    MissingExtraError
        If MLflow is not installed.
    RunError
        If the run is not complete.
    OutputError
        If the folder holds something else, or cannot be written.
    """
    if any(importlib.util.find_spec(name) is None for name in _REQUIRED):
        raise MissingExtraError(
            "runs export --mlflow needs the package mlflow, which is not installed.",
            hint="Install it: pip install 'transfer-cli[mlflow]'",
        )
    finished = FinishedRun.read(path)
    content = MlflowContent.of(finished)
    _check_folder(folder, finished.source)
    try:
        make_folder(folder)
    except OSError as error:
        raise write_error(error, folder) from error
    with progress.track("writing to MLflow", None), _mlflow_errors(folder):
        return _write(content, folder)


def _check_folder(folder: Path, images: Path) -> None:
    hint = "Choose a new folder: --mlflow mlflow"
    if "://" in str(folder) or ":/" in str(folder):
        raise OutputError(f"{folder} is an address. Expected a folder on this computer.", hint=hint)
    if folder.resolve().is_relative_to(images.resolve()):
        raise OutputError(f"{folder} would be inside the image folder {images}.", hint=hint)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Expected a folder.", hint=hint)
    if folder.is_dir() and any(folder.iterdir()) and not ((folder / _DATABASE).is_file() or _is_file_store(folder)):
        raise OutputError(f"{folder} holds other files. Expected a new folder, or one that MLflow uses.", hint=hint)


def _is_file_store(folder: Path) -> bool:
    return any(folder.glob("*/meta.yaml"))


@contextmanager
def _mlflow_errors(folder: Path) -> Iterator[None]:
    # MLflow would report its use to its makers, and tell of every table that it creates.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)

    try:
        yield
    except MlflowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise OutputError(f"MLflow could not write to {folder}: {reason}.", hint="Choose another folder.") from error
    except OSError as error:
        raise write_error(error, folder) from error


def _write(content: MlflowContent, folder: Path) -> MlflowRun:
    from mlflow.tracking import MlflowClient

    place = folder.resolve()
    store = place.as_uri() if _is_file_store(folder) else f"sqlite:///{place / _DATABASE}"
    client = MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(content.experiment)
    if found is None:
        location = None if _is_file_store(folder) else (place / _ARTIFACTS).as_uri()
        experiment = client.create_experiment(content.experiment, artifact_location=location)
    else:
        experiment = found.experiment_id
    digest = content.tags["transfer_cli.digest"]
    query = f"tags.`transfer_cli.digest` = '{digest}' and attributes.status = 'FINISHED'"
    if same := client.search_runs([experiment], query):
        return MlflowRun(same[0].info.run_id, content.experiment, store, existed=True)
    run_id = client.create_run(
        experiment, start_time=content.begun, tags=dict(content.tags), run_name=content.name
    ).info.run_id
    try:
        _log(client, run_id, content)
    except BaseException:
        # Half of a run must not look like a run.
        with suppress(Exception):
            client.delete_run(run_id)
        raise
    client.set_terminated(run_id, end_time=content.ended)
    return MlflowRun(run_id, content.experiment, store, existed=False)


def _log(client: Any, run_id: str, content: MlflowContent) -> None:
    from mlflow.entities import Metric, Param

    time = content.ended or 0
    for params in _batches([*content.params.items()], _MOST_PARAMS):
        client.log_batch(run_id, params=[Param(*each) for each in params])
    for metrics in _batches(content.metrics, _MOST_METRICS):
        client.log_batch(run_id, metrics=[Metric(name, value, time, step) for name, value, step in metrics])
    for path in content.artifacts:
        if path.is_dir():
            client.log_artifacts(run_id, str(path), path.name)
        else:
            client.log_artifact(run_id, str(path))


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
