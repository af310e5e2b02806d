"""A run in MLflow has its parameters, metrics, epochs and files; MLflow itself reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.manage.planted_runs import finished_run
from transfer_cli.errors import OutputError, RunError
from transfer_cli.manage import mlflow_export
from transfer_cli.manage.mlflow_content import MlflowContent
from transfer_cli.manage.mlflow_export import export_to_mlflow
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_directory import RunDirectory

_EPOCHS = "epoch,stage,loss,val_accuracy,refit\n1,1,0.9,0.5,no\n2,1,0.4,,no\n1,1,0.3,,yes\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = finished_run(tmp_path / "runs", "first")
    made.history.write_text(_EPOCHS)
    made.checkpoints.mkdir()
    (made.checkpoints / "last.npz").touch()
    made.log("begin")
    made.log("end")
    return made


@pytest.fixture
def _as_if_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_export, "_REQUIRED", ())


def test_content_of_a_run(run: RunDirectory) -> None:
    content = MlflowContent.of(FinishedRun.read(run.path))
    assert (content.name, content.experiment) == ("first", "images")
    assert content.params == {
        "method": "extract",
        "batch_size": "8",
        "images.size": "224",
        "backbone.name": "mobilenet@0.25",
        "images": "54",
        "folder": str(run.path.parent / ".first" / "images"),
    }
    assert [each for each in content.metrics if each[0].startswith(("epoch/", "refit/"))] == [
        ("epoch/stage", 1.0, 1),
        ("epoch/loss", 0.9, 1),
        ("epoch/val_accuracy", 0.5, 1),
        ("epoch/stage", 1.0, 2),
        ("epoch/loss", 0.4, 2),
        ("refit/stage", 1.0, 1),
        ("refit/loss", 0.3, 1),
    ]
    scores = {name: value for name, value, step in content.metrics if name.startswith("test/") and step == 0}
    assert {name: round(scores[name], 3) for name in ("test/accuracy", "test/accuracy_low", "test/accuracy_high")} == {
        "test/accuracy": 0.833, "test/accuracy_low": 0.608, "test/accuracy_high": 0.942
    }  # fmt: skip
    assert content.tags["transfer_cli.command"].startswith("transfer-cli extract images")
    names = [path.name for path in content.artifacts]
    assert {"model", "metrics.json", "split.csv"} <= {*names}
    assert "checkpoints" not in names
    assert content.begun is not None
    assert content.ended is not None
    assert content.begun <= content.ended


def test_content_names_that_mlflow_refuses_are_replaced(run: RunDirectory) -> None:
    metrics = json.loads(run.metrics.read_text())
    value = {"value": 0.5, "low": None, "high": None}
    metrics["test"] |= {"recall/cat (wild)": value, "recall/dog": {**value, "value": None, "reason": "no images"}}
    run.metrics.write_text(json.dumps(metrics))
    names = {name for name, _, _ in MlflowContent.of(FinishedRun.read(run.path)).metrics}
    assert "test/recall.cat _wild_" in names
    assert "test/recall.dog" not in names


@pytest.mark.usefixtures("_as_if_installed")
def test_export_refuses_a_wrong_place_or_run(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    images = run.path.parent / ".first" / "images"
    for place, message in {
        run.path: "holds other files",
        tmp_path / "file": "is a file",
        images / "mlflow": "inside the image folder",
        Path("http://localhost:5000"): "is an address",
    }.items():
        with pytest.raises(OutputError, match=message):
            export_to_mlflow(run.path, place)
    run.metrics.unlink()
    with pytest.raises(RunError, match="is not complete"):
        export_to_mlflow(run.path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def read_back(store: str, run_id: str) -> tuple[Any, dict[str, list[tuple[int, float]]], list[str]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store)
    found = client.get_run(run_id)
    history = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in found.data.metrics
    }
    return found, history, sorted(each.path for each in client.list_artifacts(run_id))


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_file_store", [False, True])
def test_mlflow_reads_the_run_back(is_file_store: bool, run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    place = tmp_path / "mlruns"
    if is_file_store:
        (place / "0").mkdir(parents=True)
        (place / "0" / "meta.yaml").write_text(
            f"artifact_location: {(place / '0').as_uri()}\nexperiment_id: '0'\nlifecycle_stage: active\nname: Default\n"
        )
    copied = export_to_mlflow(run.path, place)
    assert not copied.existed
    assert export_to_mlflow(run.path, place).run_id == copied.run_id
    found, history, artifacts = read_back(copied.store, copied.run_id)
    content = MlflowContent.of(FinishedRun.read(run.path))
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert (found.info.start_time, found.info.end_time) == (content.begun, content.ended)
    assert found.data.params == content.params
    expected: dict[str, list[tuple[int, float]]] = {}
    for name, value, step in content.metrics:
        expected.setdefault(name, []).append((step, value))
    assert history == expected
    assert artifacts == sorted(path.name for path in content.artifacts)
    # A new training is another run.
    run.metrics.write_text(run.metrics.read_text() + "\n")
    assert export_to_mlflow(run.path, place).run_id != copied.run_id


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_mlflow_run_that_cannot_be_completed_is_removed(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlalchemy")
    tracking = pytest.importorskip("mlflow.tracking")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tracking.MlflowClient, "log_artifact", full)
        with pytest.raises(OutputError, match="No space left"):
            export_to_mlflow(run.path, tmp_path / "mlflow")
    assert not export_to_mlflow(run.path, tmp_path / "mlflow").existed
