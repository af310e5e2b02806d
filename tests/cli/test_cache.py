"""Nothing is computed twice: a second extract, and one with new pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.conftest import COLOURS, TINY_WORDS, Outcome, run_command, save_picture
from transfer_cli.cli.main import main
from transfer_cli.features import table as features


@pytest.fixture(scope="module")
def first(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with a cache, filled by the run in it."""
    place = tmp_path_factory.mktemp("first")
    done = extract(place, colours, "run")
    assert done.code == 0, done.err
    assert "starting TensorFlow" in done.err
    return place


@pytest.fixture
def place(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "place"))


def extract(place: Path, folder: Path, run: str, *words: str) -> Outcome:
    environment = {"TRANSFER_CLI_CACHE": str(place / "cache")}
    return run_command("extract", folder, *TINY_WORDS, "-o", place / run, *words, env=environment)


def same(place: Path, run: str) -> bool:
    """Return whether a run is to the byte what the first one is, the time of its model apart."""
    names = ["features.parquet", "split.csv", "metrics.json", "predictions_val.csv", "predictions_test.csv"]
    names += ["model/graph.tflite", "model/backbone.keras"]
    return all((place / run / name).read_bytes() == (place / "run" / name).read_bytes() for name in names)


def test_a_second_run_does_without_tensorflow(place: Path, colours: Path) -> None:
    done = extract(place, colours, "again")
    assert done.code == 0, done.err
    assert "starting TensorFlow" not in done.err
    assert "36 of them were known from an earlier run" in done.err
    assert same(place, "again")


def test_new_pictures_alone_are_run(place: Path, colours: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(colours, tmp_path / "more"))
    save_picture(more / "red" / "red 005b.png", COLOURS["red"], np.random.default_rng(1))
    done = extract(place, more, "more")
    assert "36 of them were known" in done.err
    old, new = (pq.read_table(place / run / "features.parquet") for run in ("run", "more"))
    assert new.num_rows == 37
    kept = [row for row in new.to_pylist() if row["path"] != "red/red 005b.png"]
    assert [row["feature"] for row in kept] == old.column("feature").to_pylist()
    kept = sorted((place / "cache").rglob("*"))
    fresh = extract(place, more, "fresh", "--cache-limit", "0")
    assert sorted((place / "cache").rglob("*")) == kept
    assert "were known" not in fresh.err
    assert np.array_equal(*(features.read(place / run / "features.parquet") for run in ("more", "fresh")))


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "images.resize=pad"],
        pytest.param(["--runtime", "keras"], marks=pytest.mark.slow),
        pytest.param(["--pooling", "max"], marks=pytest.mark.slow),
    ],
)
def test_another_feature_is_computed(place: Path, colours: Path, words: list[str]) -> None:
    done = extract(place, colours, "other", *words)
    assert done.code == 0, done.err
    assert "were known" not in done.err


def test_a_stale_shard_is_not_trusted(place: Path, colours: Path) -> None:
    """The twin of the first test: features of other pictures under the name of a shard."""
    (shard,) = (place / "cache").rglob("*.parquet")
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "sha256", table.column("sha256").take(list(reversed(range(36))))), shard)
    done = extract(place, colours, "again")
    assert f"{shard} was damaged: its features are computed again" in done.err
    assert "were known" not in done.err
    assert same(place, "again")


@pytest.mark.slow
def test_two_processes_at_once(colours: Path, tmp_path: Path) -> None:
    import os

    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *TINY_WORDS, "-o"]
    both = [subprocess.Popen([*command, str(tmp_path / run)], env=environment) for run in ("run", "other")]
    assert [process.wait(120) for process in both] == [0, 0]
    read = [features.read(tmp_path / run / "features.parquet") for run in ("run", "other")]
    assert np.array_equal(*read)
    done = extract(tmp_path, colours, "third")
    assert "36 of them were known" in done.err


def test_a_cache_that_cannot_be_written(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    done = extract(tmp_path, colours, "run")
    assert done.code == 0, done.err
    assert done.err.count("not kept for another time") == 2


def test_what_is_in_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(place / "cache"))
    done = CliRunner().invoke(main, ["cache", "info"])
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["kind", "network"],
        ["features", "mobilenet@0.25"],
        ["networks", "mobilenet@0.25"],
    ]
    assert done.stderr.startswith(f"{place / 'cache'}: ")
    facts = json.loads(CliRunner().invoke(main, ["--json", "--quiet", "cache", "info"]).stdout)
    assert facts["bytes"] == sum(kept["bytes"] for kept in facts["kept"]) > 10**6
    assert facts["path"] == str(place / "cache")


def test_clearing_it(place: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(place / "cache"))
    assert CliRunner().invoke(main, ["cache", "clear", "features"]).exit_code == 0
    done = extract(place, colours, "again")
    assert "starting TensorFlow" not in done.err
    assert "were known" not in done.err
    assert CliRunner().invoke(main, ["cache", "clear"]).exit_code == 0
    assert CliRunner().invoke(main, ["cache", "info"]).stdout == ""
    assert list((place / "cache").rglob("*.*")) == []


def test_a_limit_that_is_no_size(colours: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "--cache-limit", "much"])
    assert done.exit_code == 3
    assert "'much' is no size. Expected a number and a unit, such as 20GB" in done.stderr


def test_a_small_limit_is_kept(colours: Path, tmp_path: Path) -> None:
    assert extract(tmp_path, colours, "run", "--cache-limit", "100KB").code == 0
    (shard,) = (tmp_path / "cache").rglob("*.parquet")
    assert shard.stat().st_size < 100_000
    assert list((tmp_path / "cache").rglob("*.tflite")) == []
