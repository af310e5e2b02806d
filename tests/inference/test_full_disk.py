"""A full disk: a network is converted elsewhere, and a table is given up."""

from __future__ import annotations

import errno
import gc
import io
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transfer_cli.data.predictions import Predictions
from transfer_cli.inference import litert_conversion
from transfer_cli.inference.compiled_network import CompiledNetwork, NetworkSource
from transfer_cli.inference.predict import write_predictions
from transfer_cli.io.cache import Cache
from transfer_cli.recipe.sections import Inference


class _Warnings:
    """A Progress that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, *messages: str) -> None:
        self.warnings += messages

    def track(self, description: str, total: int | None) -> Any:
        from contextlib import nullcontext

        return nullcontext()


def converted(
    full: list[Path], cache: Cache | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[CompiledNetwork, list[str]]:
    """Return a network that was converted while some disks are full, and the warnings."""

    def convert(network: Any, path: Path) -> None:
        if any(path.is_relative_to(folder) for folder in full):
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(b"graph")

    monkeypatch.setattr(litert_conversion, "convert", convert)
    monkeypatch.setattr(CompiledNetwork, "network", SimpleNamespace(output_shape=(None, 3)))
    monkeypatch.setattr(CompiledNetwork, "_open_graph", lambda self, graph: None)
    progress = _Warnings()
    source = NetworkSource({"name": "planted"}, lambda: None)
    return CompiledNetwork.build(source, Inference(runtime="litert"), cache, progress), progress.warnings  # type: ignore[arg-type]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_convert_with_a_full_disk_for_temporary_files_uses_that_of_the_cache(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, warnings = converted([temporary], Cache(tmp_path / "cache"), monkeypatch)
    assert (network.runtime, warnings) == ("litert", [])
    assert len(list((tmp_path / "cache").glob("transfer-cli-*/graph.tflite"))) == 1
    del network
    assert list((tmp_path / "cache").glob("transfer-cli-*")) == []


@pytest.mark.parametrize("with_cache", [True, False])
def test_convert_without_room_anywhere_says_what_is_missing_and_what_to_do(
    with_cache: bool, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache") if with_cache else None
    network, warnings = converted([tmp_path], cache, monkeypatch)
    assert network.runtime == "keras"
    assert warnings == [
        "falling back to Keras (slower) for the network: the converted graph could not be written (No space left on "
        "device). Without it predicting starts TensorFlow. Free disk space, or choose another folder for temporary "
        "files (export TMPDIR=DIR), and run the command again with --overwrite"
    ]


@pytest.mark.integration
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_write_predictions_on_a_full_disk_leaves_nothing_to_destructors(format: str) -> None:
    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    predictions = Predictions(("a.jpg",), ("cat", "dog"), np.array([[0.1, 0.9]], np.float32))
    if format == "xlsx":
        pytest.importorskip("xlsxwriter")
    with pytest.raises(OSError, match="No space left on device"), Full() as target:
        write_predictions([predictions], target, format)
    gc.collect()  # pytest makes an error of an exception in a destructor
