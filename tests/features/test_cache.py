from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_cli.features import cache as feature_cache
from transfer_cli.features.cache import FeatureCache
from transfer_cli.io.cache import Cache
from transfer_cli.progress import SILENT, Silent

FACTS = {"backbone": "tiny", "runtime": "litert 2"}
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
NAMES = [letter * 64 for letter in "abcd"]


class RecordingProgress(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def filled(path: Path) -> Cache:
    cache = Cache(path)
    features = FeatureCache(cache, FACTS, 3, SILENT)
    features.add(NAMES, ROWS)
    features.flush()
    return cache


def has_all(features: FeatureCache) -> bool:
    """Return whether the features of all names are correct."""
    found = features.get(NAMES)
    return list(found) == NAMES and np.array_equal(np.stack([*found.values()]), ROWS)


def test_get_returns_features_of_an_earlier_process(tmp_path: Path) -> None:
    found = FeatureCache(filled(tmp_path), FACTS, 3, SILENT)
    assert has_all(found)
    assert "e" * 64 not in found
    assert found.get(["e" * 64]) == {}


@pytest.mark.parametrize("facts", [{**FACTS, "runtime": "litert 3"}, {**FACTS, "size": 96}, {"backbone": "tiny"}])
def test_get_other_facts_find_nothing(tmp_path: Path, facts: dict[str, object]) -> None:
    assert FeatureCache(filled(tmp_path), facts, 3, SILENT).get(NAMES) == {}


def test_disabled_cache_reads_and_writes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    off = FeatureCache(Cache(tmp_path, 0), FACTS, 3, SILENT)
    off.add(["e" * 64], ROWS[:1])
    off.flush()
    assert off.get([*NAMES, "e" * 64]) == {}
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


@pytest.mark.parametrize("place", [0, 100, -9, None], ids=["head", "middle", "foot", "cut off"])
def test_damaged_shard_is_removed(tmp_path: Path, place: int | None) -> None:
    cache = filled(tmp_path)
    (shard,) = tmp_path.rglob("*.parquet")
    data = bytearray(shard.read_bytes())
    if place is not None:
        data[place] ^= 1
    shard.write_bytes(data if place is not None else data[:-20])
    progress = RecordingProgress()
    assert FeatureCache(cache, FACTS, 3, progress).get(NAMES) == {}
    assert [line.split(" was damaged")[0] for line in progress.warnings] == [str(shard)]
    assert not shard.exists()


def test_get_shard_damaged_after_opening_is_ignored(tmp_path: Path) -> None:
    features = FeatureCache(filled(tmp_path), FACTS, 3, SILENT)
    assert NAMES[0] in features
    (shard,) = tmp_path.rglob("*.parquet")
    data = shard.read_bytes()
    stale = np.float32(5).tobytes()
    assert data.count(stale) == 1
    shard.write_bytes(data.replace(stale, np.float32(6).tobytes()))
    assert features.get(NAMES[1:2]) == {}
    assert NAMES[0] not in features


def test_get_shard_removed_by_another_process_is_ignored(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    features = FeatureCache(cache, FACTS, 3, SILENT)
    assert NAMES[0] in features
    cache.clear()
    assert features.get(NAMES[:1]) == {}


def test_add_writes_full_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_ROWS_PER_SHARD", 2)
    features = FeatureCache(Cache(tmp_path), FACTS, 3, SILENT)
    features.add(NAMES[:1], ROWS[:1])
    assert list(tmp_path.rglob("*.parquet")) == []
    features.add(NAMES[1:2], ROWS[1:2])
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    features.add(NAMES[2:], ROWS[2:])
    features.flush()
    again = FeatureCache(Cache(tmp_path), FACTS, 3, SILENT)
    (again._folder / "mine.parquet").write_text("not one of ours")
    assert has_all(again)
    assert has_all(FeatureCache(Cache(tmp_path), FACTS, 3, SILENT))
    assert (again._folder / "mine.parquet").exists()


def test_flush_unwritable_cache_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    progress = RecordingProgress()
    features = FeatureCache(Cache(tmp_path / "file"), FACTS, 3, progress)
    for _ in range(2):
        features.add(NAMES, ROWS)
        features.flush()
    assert len(progress.warnings) == 1
    assert progress.warnings[0].startswith("cannot write the feature cache: ")


def test_add_wide_features_writes_small_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "_BYTES_PER_SHARD", 3 * 4 * 2)
    filled(tmp_path)
    features = FeatureCache(Cache(tmp_path), FACTS, 3, SILENT)
    for number in range(4):
        features.add([str(number) * 64], ROWS[number : number + 1])
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
