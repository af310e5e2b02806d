"""A long prediction that was interrupted goes on, and its output has the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.features.test_cache import RecordingProgress
from tests.inference.colour_model import colour_model, save_colours
from transfer_cli.data.predictions import Predictions
from transfer_cli.inference.models import NetworkModel
from transfer_cli.inference.predict import predict_files, without_images, write_predictions
from transfer_cli.inference.prediction_parts import PredictionParts, part_size_of, prediction_facts
from transfer_cli.inference.reject import Rejector
from transfer_cli.io.cache import Cache
from transfer_cli.progress import Progress

BATCH, PART = 4, 8


class KilledError(Exception):
    """What ends a prediction in a test."""


class Job:
    """A prediction of files in parts, which counts the files that it reads."""

    def __init__(self, tmp_path: Path, files: list[str], *, limit: int = 10**6, rejects: bool = False) -> None:
        self.files, self.read, self.cache = files, list[str](), Cache(tmp_path / "cache", limit)
        self.progress = RecordingProgress()
        self.notes: list[str] = []
        self.progress.note = self.notes.append  # type: ignore[method-assign]
        self.rejects = rejects
        self.facts = prediction_facts("imagenet:colours", files, {"batch_size": BATCH})
        self.parts: PredictionParts

    def run(self, kill_after: int | None = None, format: str = "csv") -> bytes:
        """Return the written table; raise KilledError after a number of files was read."""
        rejector = Rejector(colour_model(), threshold=0.4) if self.rejects else None
        model = rejector.model if rejector else colour_model()
        template = without_images(model, rejects=self.rejects)
        progress: Progress = self.progress
        self.parts = PredictionParts(self.cache, self.facts, self.files, PART, template, progress)
        run = partial(predict_files, model, batch_size=BATCH, rejector=rejector, part_size=PART)

        def computed(paths: Iterable[str]) -> Iterator[Predictions]:
            for batch in run(paths):
                self.read += [*batch.paths, *(file.path for file in batch.skipped)]
                if kill_after is not None and len(self.read) > kill_after:
                    raise KilledError
                yield batch

        target = BytesIO()
        write_predictions(self.parts.predictions(computed), target, format)
        return target.getvalue()


def finished_parts(job: Job) -> list[str]:
    return sorted(path.name for path in job.cache.path.glob("predictions/*/*.part"))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return save_colours(tmp_path / "images", 37, broken=(2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 20))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "table"])
@pytest.mark.parametrize("rejects", [False, True])
def test_interrupted_prediction_goes_on(tmp_path: Path, files: list[str], format: str, rejects: bool) -> None:
    unbroken = Job(tmp_path, files, limit=0, rejects=rejects).run(format=format)
    with pytest.raises(KilledError):
        Job(tmp_path, files, rejects=rejects).run(kill_after=26, format=format)
    job = Job(tmp_path, files, rejects=rejects)
    assert finished_parts(job) == ["00000000.part", "00000001.part", "00000002.part"]
    assert job.run(format=format) == unbroken
    assert sorted(job.read) == files[24:]
    assert job.notes == ["continuing an interrupted prediction: 24 of 37 images are done"]
    job.parts.remove()
    assert list(job.cache.path.glob("predictions/*")) == []


def interrupted(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(KilledError):
        Job(tmp_path, files).run(kill_after=26)


@pytest.mark.parametrize("change", ["content", "time", "removed", "repaired"])
def test_changed_image_is_predicted_again(tmp_path: Path, files: list[str], change: str) -> None:
    interrupted(tmp_path, files)
    path = Path(files[8 if change == "repaired" else 5])
    before = path.stat()
    if change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    elif change == "removed":
        path.unlink()
    else:
        # Same size and time as before: what a careful program leaves.
        path.write_bytes(Path(files[0]).read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    job = Job(tmp_path, files)
    table = job.run()
    start = 8 if change == "repaired" else 0
    assert sorted(job.read) == sorted([*files[start : start + 8], *files[24:]])
    assert table == Job(tmp_path, files, limit=0).run()


@pytest.mark.parametrize("fault", ["flipped byte", "other part", "other user", "torn", "empty"])
def test_part_that_this_user_did_not_write_is_not_read(
    tmp_path: Path, files: list[str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted faults: each must lead to the first part being predicted again."""
    interrupted(tmp_path, files)
    (folder,) = (tmp_path / "cache/predictions").iterdir()
    part = folder / "00000000.part"
    content = part.read_bytes()
    if fault == "flipped byte":
        part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif fault == "other part":
        part.write_bytes((folder / "00000001.part").read_bytes())
    elif fault == "other user":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another key"))
    else:
        part.write_bytes(content[: len(content) // 2] if fault == "torn" else b"")
    job = Job(tmp_path, files)
    assert job.run() == Job(tmp_path, files, limit=0).run()
    assert set(files[:8]) <= set(job.read)
    assert (files[8] in job.read) == (fault == "other user")


def test_cache_that_others_can_write_is_not_used(tmp_path: Path, files: list[str]) -> None:
    interrupted(tmp_path, files)
    (tmp_path / "cache/predictions").chmod(0o777)
    job = Job(tmp_path, files)
    job.run()
    assert sorted(job.read) == files
    assert job.progress.warnings[0].startswith("the cache is not used: other users can write")


@pytest.mark.parametrize("change", ["model", "options", "list", "folder"])
def test_other_prediction_does_not_use_the_parts(
    tmp_path: Path, files: list[str], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path, files)
    listed = files[::-1] if change == "list" else files
    if change == "folder":
        monkeypatch.chdir(tmp_path)
    job = Job(tmp_path, listed)
    if change in ("model", "options"):
        job.facts[change] = "another one"
    job.run()
    assert sorted(job.read) == files


def test_model_digest_changes_the_facts(tmp_path: Path) -> None:
    found = []
    for content in (b"one", b"two"):
        (tmp_path / "model.onnx").write_bytes(content)
        found.append(prediction_facts(str(tmp_path / "model.onnx"), [], {}))
    assert found[0] != found[1]


def test_without_a_cache_nothing_is_written(tmp_path: Path, files: list[str]) -> None:
    Job(tmp_path, files, limit=0).run()
    assert not (tmp_path / "cache").exists()


def test_parts_beyond_the_limit_are_removed(tmp_path: Path, files: list[str]) -> None:
    job = Job(tmp_path, files, limit=1000)
    assert job.run() == Job(tmp_path, files, limit=0).run()
    assert finished_parts(job) == []
    assert job.progress.warnings == [
        "an interrupted prediction will start again: the finished parts would exceed the limit of the cache"
    ]


def test_parts_count_in_the_cache_and_are_cleared(tmp_path: Path, files: list[str]) -> None:
    interrupted(tmp_path, files)
    cache = Cache(tmp_path / "cache")
    ((kind, name),) = cache.sizes()
    assert (kind, name) == ("predictions", "imagenet:colours")
    assert cache.clear("predictions") > 0
    assert cache.sizes() == {}


def test_full_disk_ends_the_parts_only(tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transfer_cli.inference.prediction_parts.put_in_place", full)
    job = Job(tmp_path, files)
    assert job.run() == Job(tmp_path, files, limit=0).run()
    assert len(job.progress.warnings) == 1
    assert "No space left on device" in job.progress.warnings[0]


def test_part_removed_by_another_process_is_predicted_again(tmp_path: Path, files: list[str]) -> None:
    interrupted(tmp_path, files)
    job = Job(tmp_path, files)
    model = colour_model()
    parts = PredictionParts(job.cache, job.facts, files, PART, without_images(model, rejects=False), job.progress)
    batches = parts.predictions(partial(predict_files, model, batch_size=BATCH, part_size=PART))
    first = next(batches)
    job.cache.clear("predictions")
    rest = list(batches)
    target, expected = BytesIO(), Job(tmp_path, files, limit=0).run()
    write_predictions([first, *rest], target, "csv")
    assert target.getvalue() == expected


@pytest.mark.parametrize(("batch_size", "size"), [(1, 64), (32, 64), (48, 48), (100, 100), (4096, 4096)])
def test_part_size_is_full_batches(batch_size: int, size: int) -> None:
    assert part_size_of(batch_size) == size


def test_template_of_a_model_has_no_rows() -> None:
    model = NetworkModel(lambda images: images, ("a", "b"), 8, "squash", (0.5, 0.5))
    template = without_images(model, rejects=True)
    assert template.probabilities.shape == (0, 2)
    assert (template.thresholds, template.reject_reasons) == ((0.5, 0.5), ())
    assert template.probabilities.dtype == np.float32
