"""The cache: a second extract computes nothing twice, and new images only once; ``transfer-cli cache``."""

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

from tests.conftest import COLOURS, TINY_WORDS, Outcome, run_command, save_image
from transfer_cli.cli.main import main
from transfer_cli.features import table as features

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def first(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and the cache that it filled."""
    place = tmp_path_factory.mktemp("first")
    result = extract(place, colours, "run")
    assert result.code == 0, result.err
    assert "starting TensorFlow" in result.err
    return place


@pytest.fixture
def place(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "place"))


def extract(place: Path, folder: Path, run: str, *arguments: str) -> Outcome:
    environment = {"TRANSFER_CLI_CACHE": str(place / "cache")}
    return run_command("extract", folder, *TINY_WORDS, "-o", place / run, *arguments, env=environment)


def same(place: Path, run: str) -> bool:
    """Return whether the files of a run equal those of the first run byte for byte, except for dates."""
    names = ["features.parquet", "split.csv", "metrics.json", "predictions_val.csv", "predictions_test.csv"]
    names += ["model/graph.tflite", "model/backbone.keras"]
    return all((place / run / name).read_bytes() == (place / "run" / name).read_bytes() for name in names)


def test_extract_second_run_starts_no_tensorflow(place: Path, colours: Path) -> None:
    result = extract(place, colours, "again")
    assert result.code == 0, result.err
    assert "starting TensorFlow" not in result.err
    assert "36 loaded from the feature cache" in result.err
    assert same(place, "again")


def test_extract_new_images_computes_only_these(place: Path, colours: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(colours, tmp_path / "more"))
    save_image(more / "red" / "red 005b.png", COLOURS["red"], np.random.default_rng(1))
    result = extract(place, more, "more")
    assert "36 loaded from the feature cache" in result.err
    old, new = (pq.read_table(place / run / "features.parquet") for run in ("run", "more"))
    assert new.num_rows == 37
    kept = [row for row in new.to_pylist() if row["path"] != "red/red 005b.png"]
    assert [row["feature"] for row in kept] == old.column("feature").to_pylist()
    kept = sorted((place / "cache").rglob("*"))
    fresh = extract(place, more, "fresh", "--cache-limit", "0")
    assert sorted((place / "cache").rglob("*")) == kept
    assert "feature cache" not in fresh.err
    assert np.array_equal(*(features.read(place / run / "features.parquet") for run in ("more", "fresh")))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "images.resize=pad"],
        pytest.param(["--runtime", "keras"], marks=pytest.mark.slow),
        pytest.param(["--pooling", "max"], marks=pytest.mark.slow),
    ],
)
def test_extract_other_settings_computes_features_again(place: Path, colours: Path, arguments: list[str]) -> None:
    result = extract(place, colours, "other", *arguments)
    assert result.code == 0, result.err
    assert "feature cache" not in result.err


def test_extract_damaged_shard_is_recomputed(place: Path, colours: Path) -> None:
    """Planted fault: a shard with the features of other images."""
    (shard,) = (place / "cache").rglob("*.parquet")
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "sha256", table.column("sha256").take(list(reversed(range(36))))), shard)
    result = extract(place, colours, "again")
    assert f"{shard} was damaged: computing its features again" in result.err
    assert "feature cache" not in result.err
    assert same(place, "again")


@pytest.mark.slow
def test_extract_two_processes_share_cache(colours: Path, tmp_path: Path) -> None:
    import os

    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "transfer_cli", "extract", str(colours), *TINY_WORDS, "-o"]
    both = [subprocess.Popen([*command, str(tmp_path / run)], env=environment) for run in ("run", "other")]
    assert [process.wait(120) for process in both] == [0, 0]
    read = [features.read(tmp_path / run / "features.parquet") for run in ("run", "other")]
    assert np.array_equal(*read)
    result = extract(tmp_path, colours, "third")
    assert "36 loaded from the feature cache" in result.err


def test_extract_unwritable_cache_still_succeeds(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    result = extract(tmp_path, colours, "run")
    assert result.code == 0, result.err
    assert result.err.count("warning: cannot") == 2


def test_cache_info_lists_entries(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(place / "cache"))
    result = CliRunner().invoke(main, ["cache", "info"])
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["kind", "network"],
        ["features", "mobilenet@0.25"],
        ["networks", "mobilenet@0.25"],
    ]
    assert result.stderr.startswith(f"{place / 'cache'}: ")
    data = json.loads(CliRunner().invoke(main, ["--json", "--quiet", "cache", "info"]).stdout)
    assert data["bytes"] == sum(entry["bytes"] for entry in data["entries"]) > 10**6
    assert data["path"] == str(place / "cache")


def test_cache_clear_deletes_entries(place: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(place / "cache"))
    assert CliRunner().invoke(main, ["cache", "clear", "features"]).exit_code == 0
    result = extract(place, colours, "again")
    assert "starting TensorFlow" not in result.err
    assert "feature cache" not in result.err
    assert CliRunner().invoke(main, ["cache", "clear"]).exit_code == 0
    assert CliRunner().invoke(main, ["cache", "info"]).stdout == ""
    assert list((place / "cache").rglob("*.*")) == []


def test_cache_limit_not_a_size_is_error(colours: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["extract", str(colours), *TINY_WORDS, "--cache-limit", "much"])
    assert result.exit_code == 3
    assert "'much' is not a size. Expected a number and a unit, such as 20GB" in result.stderr


def test_cache_limit_small_limits_size(colours: Path, tmp_path: Path) -> None:
    assert extract(tmp_path, colours, "run", "--cache-limit", "200KB").code == 0
    (shard,) = (tmp_path / "cache").rglob("*.parquet")
    assert shard.stat().st_size < 200_000
    assert list((tmp_path / "cache").rglob("*.tflite")) == []
