"""Empty and damaged files of a run are found, so that it is not called complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transfer_cli.io.digests import digest_of_file
from transfer_cli.runs.run_directory import RunDirectory


def complete_run(path: Path, weights: str = "weights") -> RunDirectory:
    """Write a run that looks complete."""
    run = RunDirectory(path)
    run.model.mkdir(parents=True)
    (run.model / "linear.npz").write_text(weights)
    files = {"linear.npz": digest_of_file(run.model / "linear.npz").model_dump()}
    (run.model / "bundle.json").write_text(json.dumps({"files": files}))
    run.metrics.write_text('{"test": {}}\n')
    run.split.write_text("path,sha256,label,split\n")
    run.skipped.write_text("path,reason\n")
    run.features.write_bytes(b"PAR1 features PAR1")
    return run


def is_complete(run: RunDirectory) -> bool:
    return run.is_complete(with_model=True, with_features=True)


def test_is_complete_whole_run_is(tmp_path: Path) -> None:
    run = complete_run(tmp_path / "run")
    assert is_complete(run)
    assert run.damage() is None


@pytest.mark.parametrize(
    "name",
    ["model/linear.npz", "model/bundle.json", "metrics.json", "split.csv", "skipped.csv", "features.parquet"],
)
def test_is_complete_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    run = complete_run(tmp_path / "run")
    path = run.path / name
    data = path.read_bytes()
    # A table without its last rows cannot be told from a shorter one.
    cut = [] if path.suffix == ".csv" else [data[:-2]]
    for damaged in (b"", bytes(len(data)), *cut):
        path.write_bytes(damaged)
        assert not is_complete(run)
        assert path.name in str(run.damage())
    path.write_bytes(data)
    assert is_complete(run)


def test_damage_of_a_member_of_an_ensemble_is_found(tmp_path: Path) -> None:
    run = complete_run(tmp_path / "run")
    member = complete_run(tmp_path / "member")
    member.model.rename(run.model / "member-01")
    assert is_complete(run)
    (run.model / "member-01/linear.npz").write_bytes(b"")
    assert "member-01/linear.npz" in str(run.damage())
