"""A table of predictions that grows: each image once, and no torn line stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.inference.colour_model import colour_model, save_colours
from transfer_cli import predict
from transfer_cli.data.predictions import Predictions, columns_of
from transfer_cli.errors import OutputError
from transfer_cli.inference.predict import without_images
from transfer_cli.inference.prediction_log import PredictionLog

COLUMNS = columns_of(without_images(colour_model(), rejects=False), with_digest=True)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    (found,) = predict(colour_model(), save_colours(tmp_path_factory.mktemp("images"), 4))
    # Names with all that a table quotes.
    return replace(found, paths=("a.png", 'b "x",\n.png', "c\r.png", b"\xff.png".decode("utf-8", "surrogateescape")))


def opened(path: Path, format: str = "csv") -> PredictionLog:
    return PredictionLog(path, format, COLUMNS)


def appended(path: Path, parts: Sequence[Predictions], format: str = "csv") -> bytes:
    log = opened(path, format)
    for part in parts:
        log.append(part)
    return path.read_bytes()


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_log_each_image_once_also_after_a_restart(tmp_path: Path, batch: Predictions, format: str) -> None:
    path = tmp_path / "new" / f"out.{format}"
    whole = appended(tmp_path / "whole", [batch], format)
    log = opened(path, format)
    assert (log.append(batch[0:2]), log.append(batch[0:3]), log.rows) == (2, 1, 3)
    again = opened(path, format)
    assert again.rows == 3
    assert [digest in again for digest in batch.digests] == [True, True, True, False]
    assert (again.append(batch), again.append(batch), again.rows) == (1, 0, 4)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_log_torn_anywhere_ends_as_if_it_was_not(tmp_path: Path, batch: Predictions, format: str) -> None:
    """A kill may leave any beginning of the file."""
    path = tmp_path / f"out.{format}"
    whole = appended(path, [batch], format)
    for length in {*range(0, len(whole), 29), *range(len(whole) - 3, len(whole))}:
        path.write_bytes(whole[:length])
        log = opened(path, format)
        assert path.read_bytes() in {b"", whole[: path.stat().st_size]}
        log.append(batch)
        assert path.read_bytes() == whole, length


def test_log_of_a_file_that_was_moved_away_begins_anew(tmp_path: Path, batch: Predictions) -> None:
    log = opened(tmp_path / "out.csv")
    log.append(batch[0:1])
    (tmp_path / "out.csv").rename(tmp_path / "monday.csv")
    log.append(batch)
    assert (tmp_path / "out.csv").read_bytes() == appended(tmp_path / "rest.csv", [batch[1:4]])


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("csv", "path,label\na.png,cat\n"),
        ("csv", "notes of monday"),
        ("csv", "\n\n"),
        ("jsonl", '{"path": "a.png", "label": "cat"}\n'),
        ("jsonl", "notes of monday\n"),
        ("jsonl", "notes of monday"),
        ("jsonl", "[1]\n"),
    ],
)
def test_log_other_files_are_not_touched(tmp_path: Path, format: str, content: str) -> None:
    path = tmp_path / f"out.{format}"
    path.write_text(content)
    with pytest.raises(OutputError, match="was not written by --watch with this model") as caught:
        opened(path, format)
    assert caught.value.hint == "Choose another file with -o FILE."
    assert path.read_text() == content


def test_log_rows_without_a_digest_are_not_touched(tmp_path: Path, batch: Predictions) -> None:
    path = tmp_path / "out.csv"
    content = appended(path, [batch]) + b"x,y\n"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="Row 5 has no sha256"):
        opened(path)
    assert path.read_bytes() == content


def test_log_full_disk_is_told(tmp_path: Path, batch: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path / "out.csv")
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="could not be written: No space left on device"):
        log.append(batch)
