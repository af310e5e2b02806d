"""The cache on disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from transfer_cli.errors import InputError, OutputError
from transfer_cli.io.atomic import write_json
from transfer_cli.io.cache import FACTS, LIMIT, Cache, digest_of_facts, parse_size

FACT = {"backbone": "tiny"}


def shard(cache: Cache, name: str, size: int, used: float) -> Path:
    folder = cache.folder("features", FACT)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FACTS, FACT)
    path = folder / f"{name * 64}.parquet"
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


def network(cache: Cache, name: str, size: int, used: float) -> Path:
    folder = cache.folder("networks", {"backbone": name})
    folder.mkdir(parents=True)
    (folder / "graph.tflite").write_bytes(bytes(size))
    write_json(folder / FACTS, {"backbone": name})
    os.utime(folder, (used, used))
    return folder


def test_of_user_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_CACHE", str(tmp_path))
    assert Cache.of_user() == Cache(tmp_path, LIMIT)
    assert Cache.of_user(0) == Cache(tmp_path, 0)
    monkeypatch.setenv("TRANSFER_CLI_CACHE_LIMIT", "3 MB")
    assert Cache.of_user() == Cache(tmp_path, 3_000_000)
    monkeypatch.delenv("TRANSFER_CLI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.of_user().path.name == "transfer-cli"


def test_entries_are_sorted_by_last_use(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    paths = [shard(cache, "b", 20, 300), network(cache, "old", 50, 100), shard(cache, "a", 10, 200)]
    entries = cache.entries()
    assert [entry.path for entry in entries] == [paths[1], paths[2], paths[0]]
    assert [(entry.kind, entry.facts) for entry in entries][:2] == [
        ("networks", {"backbone": "old"}),
        ("features", FACT),
    ]
    assert [entry.bytes for entry in entries][1:] == [10, 20]


def test_trim_removes_the_least_recently_used(tmp_path: Path) -> None:
    old = network(Cache(tmp_path), "old", 1000, 100)
    older, newer = shard(Cache(tmp_path), "a", 400, 200), shard(Cache(tmp_path), "b", 400, 300)
    Cache(tmp_path, limit=500).trim()
    assert (old.exists(), older.exists(), newer.exists()) == (False, False, True)
    Cache(tmp_path, limit=500).trim()
    assert newer.exists()


def test_trim_disabled_cache_is_untouched(tmp_path: Path) -> None:
    path = shard(Cache(tmp_path), "a", 400, 200)
    Cache(tmp_path, limit=0).trim()
    assert path.exists()


def test_trim_new_empty_folder_stays(tmp_path: Path) -> None:
    folder = Cache(tmp_path).folder("features", FACT)
    folder.mkdir(parents=True)
    Cache(tmp_path).trim()
    assert folder.exists()


def test_clear_removes_only_cache_entries(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    shard(cache, "a", 10, 1)
    network(cache, "net", 20, 1)
    draft = tmp_path / "networks" / f".{digest_of_facts(FACT)}.01234567"
    draft.touch()
    foreign = [tmp_path / "networks" / "holiday.jpg", tmp_path / "features" / "notes" / "1.parquet", tmp_path / "x"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert cache.clear("features") == 10
    assert [entry.kind for entry in cache.entries()] == ["networks"]
    assert draft.exists()
    assert cache.clear() > 20
    assert cache.entries() == []
    assert all(path.read_text() == "mine" for path in foreign)
    assert not cache.folder("features", FACT).exists()


def test_trim_removes_old_drafts_only(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    (tmp_path / "features").mkdir()
    young, old = (tmp_path / "features" / f".{digest_of_facts(FACT)}.{number * 8}.parquet" for number in "01")
    for path in (young, old):
        path.touch()
    os.utime(old, (1, 1))
    cache.trim()
    assert (young.exists(), old.exists()) == (True, False)


def test_draft_unwritable_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), Cache(tmp_path / "file").draft("features", FACT):
        pass


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("20GB", 20 * 10**9), ("1.5 mb", 1_500_000), (" 7 ", 7)])
def test_parse_size_valid(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "3 PB", "1e9"])
def test_parse_size_invalid_raises(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{text!r} is not a size. Expected a number and a unit")):
        parse_size(text)
