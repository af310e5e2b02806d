from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.features.test_cache import FACTS, NAMES, RecordingProgress, filled, has_all
from transfer_cli.features.cache import FeatureCache
from transfer_cli.io.cache import Cache
from transfer_cli.io.cache_trust import code, folder_fault, user_key
from transfer_cli.progress import SILENT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions and owners of POSIX")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home folder of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def opened(cache: Cache) -> tuple[FeatureCache, list[str]]:
    """Return the features of a cache, and the warnings at opening it."""
    progress = RecordingProgress()
    return FeatureCache(cache, FACTS, 3, progress), progress.warnings


def test_own_cache_is_used(tmp_path: Path) -> None:
    features, warnings = opened(filled(tmp_path / "cache"))
    assert has_all(features)
    assert warnings == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "cache").rglob("*") if path.is_dir())


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
@pytest.mark.parametrize("place", [".", "features"])
def test_cache_that_others_can_write_is_not_used(tmp_path: Path, mode: int, place: str) -> None:
    """Planted fault: only the mode of a folder differs from the cache of the test above."""
    cache = filled(tmp_path / "cache")
    (cache.path / place).chmod(mode)
    features, warnings = opened(cache)
    assert features.get(NAMES) == {}
    assert warnings == [
        f"the cache is not used: other users can write {cache.path / place}. "
        f"To use it: chmod -R go-w {cache.path / place}"
    ]
    before = sorted(cache.path.rglob("*"))
    features.add(["e" * 64], np.zeros((1, 3), np.float32))
    features.flush()
    assert sorted(cache.path.rglob("*")) == before
    (cache.path / place).chmod(mode & ~0o022)
    assert has_all(opened(cache)[0])


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can give a folder away")
def test_cache_of_another_user_is_not_used(tmp_path: Path) -> None:
    cache = filled(tmp_path / "cache")
    os.chown(cache.path, 12345, 12345)
    features, warnings = opened(cache)
    assert features.get(NAMES) == {}
    assert warnings[0].startswith(f"the cache is not used: {cache.path} belongs to another user.")


def test_features_replaced_with_a_right_digest_are_refused(tmp_path: Path) -> None:
    """Planted fault: a shard with other features, named by the SHA-256 of its content."""
    cache = filled(tmp_path / "cache")
    (shard,) = cache.path.rglob("*.parquet")
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "sha256", table.column("sha256").take([3, 2, 1, 0])), shard)
    forged = shard.with_name(f"{hashlib.sha256(shard.read_bytes()).hexdigest()}.parquet")
    shard.rename(forged)
    features, warnings = opened(cache)
    assert features.get(NAMES) == {}
    assert warnings == [f"{forged} was damaged: computing its features again"]


def test_features_of_another_network_are_refused(tmp_path: Path) -> None:
    cache = filled(tmp_path / "cache")
    (shard,) = cache.path.rglob("*.parquet")
    other = {**FACTS, "backbone": "large"}
    shutil.copytree(shard.parent, cache.folder("features", other))
    assert FeatureCache(cache, other, 3, SILENT).get(NAMES) == {}


def test_features_of_another_key_are_refused(tmp_path: Path, home: Path) -> None:
    cache = filled(tmp_path / "cache")
    (home / ".config" / "transfer-cli" / "cache.key").unlink()
    assert opened(cache)[0].get(NAMES) == {}


def test_user_key_is_private_and_stays(home: Path) -> None:
    key, fault = user_key()
    assert (len(key), fault) == (32, None)
    path = home / ".config" / "transfer-cli" / "cache.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["cache.key"]
    assert user_key() == (key, None)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_user_key_that_others_can_read_is_refused(home: Path, mode: int) -> None:
    user_key()
    path = home / ".config" / "transfer-cli" / "cache.key"
    path.chmod(mode)
    assert user_key() == (b"", f"the cache is not used: other users can read its key. To use it: chmod 600 {path}")


@pytest.mark.parametrize("variable", [None, ""])
def test_cache_without_home_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    cache = filled(tmp_path / "cache")
    monkeypatch.delenv("HOME")
    if variable is not None:
        monkeypatch.setenv("HOME", variable)
    features, warnings = opened(cache)
    assert features.get(NAMES) == {}
    assert warnings == [
        "the cache is not used: there is no home folder for its key. To use it: export HOME=FOLDER",
    ]


def test_cache_with_home_that_cannot_be_written_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    features, warnings = opened(Cache(tmp_path / "cache"))
    assert features.get(NAMES) == {}
    assert [line.partition(" cannot be read or created")[1] for line in warnings] == [" cannot be read or created"]


def test_folder_fault_missing_folders_are_no_fault(tmp_path: Path) -> None:
    assert folder_fault([tmp_path / "missing"]) is None


def test_code_counts_where_a_part_ends() -> None:
    assert code(b"key", b"ab", b"c") != code(b"key", b"a", b"bc")
