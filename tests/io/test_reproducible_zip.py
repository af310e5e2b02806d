"""Files of equal models have equal bytes."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dump

from transfer_cli.classifiers import fit
from transfer_cli.io.reproducible_zip import make_reproducible


def fitted(estimator: object) -> object:
    features = np.random.default_rng(0).normal(size=(30, 4))
    return make_pipeline(StandardScaler(), estimator).fit(features, np.arange(30) % 3)


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_classifiers_of_equal_trainings_have_equal_bytes(kind: str, tmp_path: Path) -> None:
    estimators = {
        "logistic": LogisticRegression,
        "forest": lambda: RandomForestClassifier(n_estimators=3, random_state=0),
    }
    first, second = (fitted(estimators[kind]()) for _ in range(2))
    for name, pipeline in (("first", first), ("second", second)):
        fit.save(pipeline, tmp_path / name)
        dump(pipeline, tmp_path / f"{name}.plain")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    # Without it they differ: both objects are in memory, at different addresses.
    assert (tmp_path / "first.plain").read_bytes() != (tmp_path / "second.plain").read_bytes()
    features = np.ones((2, 4))
    np.testing.assert_array_equal(fit.load(tmp_path / "first").predict_proba(features), first.predict_proba(features))


def keras_file(path: Path, date: str, first: int, second: int) -> Path:
    """Write what Keras writes of three layers, two of which share an object."""
    shared = [{"config": {"name": "a"}, "shared_object_id": number} for number in (first, second, first)]
    with ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15", "date_saved": date}))
        archive.writestr("config.json", json.dumps({"layers": shared, "note": f'"shared_object_id": {first}'}))
        archive.writestr("model.weights.h5", b"weights")
    return path


def test_keras_files_of_two_days_have_equal_bytes_and_keep_their_shared_objects(tmp_path: Path) -> None:
    one = keras_file(tmp_path / "one.keras", "2026-01-02@03:04:05", 140_001, 7)
    other = keras_file(tmp_path / "other.keras", "2027-11-12@13:14:15", 8, 139_999)
    make_reproducible(one)
    with ZipFile(one) as archive:
        config = json.loads(archive.read("config.json"))
        assert [layer["shared_object_id"] for layer in config["layers"]] == [1, 2, 1]
        assert config["note"] == '"shared_object_id": 140001'
        assert archive.read("model.weights.h5") == b"weights"
    with ZipFile(other) as archive:
        assert archive.read("config.json") != b""
    make_reproducible(other)
    with ZipFile(one) as first, ZipFile(other) as second:
        assert [entry.date_time for entry in first.infolist()] == [entry.date_time for entry in second.infolist()]
        assert first.read("metadata.json") == second.read("metadata.json")
        assert json.loads(first.read("config.json"))["layers"] == json.loads(second.read("config.json"))["layers"]


def test_file_that_cannot_be_rewritten_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_file(tmp_path / "one.keras", "2026-01-02@03:04:05", 1, 2)
    before = path.read_bytes()

    def fail(draft: Path, target: Path) -> None:
        raise OSError("planted")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="planted"):
        make_reproducible(path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["one.keras"]
