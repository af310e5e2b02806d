"""Finished parts of a long prediction, kept in the cache until its output is complete: an interrupted one goes on.

The images are predicted in parts of the same number of files, whatever was interrupted, so the output has the same
bytes. A part is used if this user wrote it, for the same model, options and list, and no file of it has changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.manifest import bundle_directory, read_manifest
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.predictions import Predictions
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import OutputError
from transfer_cli.inference.models import IMAGENET
from transfer_cli.io.atomic import put_in_place, remove, write_json
from transfer_cli.io.cache import FACTS, Cache
from transfer_cli.io.cache_trust import make_private
from transfer_cli.io.digests import digest_of_file
from transfer_cli.progress import Progress
from transfer_cli.system import cpu_count
from transfer_cli.text import counted

_KIND = "predictions"
_IMAGES = 64
_CODE_BYTES = 64
_PARTS_PER_TRIM = 32
_PACKAGES = ("transfer-cli", "numpy", "ai-edge-litert", "openvino", "onnxruntime", "tensorflow", "keras")

Predict = Callable[[Iterable[str]], Iterator[Predictions]]
_Status = tuple[int, ...] | None


def part_size_of(batch_size: int) -> int:
    """Return the number of files per part: full batches, about 64 images."""
    return batch_size * max(1, _IMAGES // batch_size)


def prediction_facts(source: str, files: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that determines the predictions of unchanged files: the model, the options, the list, the machine.

    Parameters
    ----------
    source : str
        The model, as `load` takes it.
    files : sequence of str
    options : mapping
        Those that change a prediction or what is skipped.
    """
    listed = hashlib.sha256()
    for path in files:
        listed.update(os.fsencode(path.replace("\0", "")) + b"\0")
    return {
        "backbone": Path(source).name,
        "model": _model_digest(source),
        "options": dict(options),
        "list": listed.hexdigest(),
        "files": len(files),
        "folder": str(Path.cwd()),
        "decoder": DECODER,
        "processors": cpu_count(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


@dataclass
class PredictionParts:
    """The parts of one prediction.

    Attributes
    ----------
    cache : Cache
    facts : mapping
        See `prediction_facts`.
    files : sequence of str
    part_size : int
        Files per part; the last part may have fewer.
    template : Predictions
        A batch without images: classes, thresholds, and whether images are rejected.
    progress : Progress
    """

    cache: Cache
    facts: Mapping[str, Any]
    files: Sequence[str]
    part_size: int
    template: Predictions
    progress: Progress
    _statuses: dict[int, _Status] = field(default_factory=dict)
    _written: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._folder = self.cache.folder(_KIND, self.facts)
        self.is_kept = self.cache.is_usable(_KIND, self.facts, self.progress)

    def predictions(self, predict: Predict) -> Iterator[Predictions]:
        """Yield the predictions of all files, one batch per part; those that are not kept are computed by `predict`.

        Parameters
        ----------
        predict : callable
            Predicts files in order; a batch of it ends after each `part_size` files.
        """
        numbers = range(-(-len(self.files) // self.part_size))
        kept = {number for number in numbers if self._read(number) is not None}
        if kept:
            done = sum(len(self._paths(number)) for number in kept)
            total = counted(len(self.files), "image")
            self.progress.note(f"continuing an interrupted prediction: {done:,} of {total} are done")
        batches = predict(self._opened(number for number in numbers if number not in kept))
        for number in numbers:
            part = self._read(number) if number in kept else None
            if part is None:
                missing = batches if number not in kept else predict(self._opened([number]))
                part = _joined(_take(missing, len(self._paths(number))))
                self._write(number, part)
            yield part

    def remove(self) -> None:
        """Remove all parts: the output is complete."""
        if self.is_kept:
            remove(self._folder)

    def _paths(self, number: int) -> Sequence[str]:
        return self.files[number * self.part_size : (number + 1) * self.part_size]

    def _opened(self, numbers: Iterable[int]) -> Iterator[str]:
        """Yield the paths of parts; what a file is like is noted before it is read."""
        for number in numbers:
            for index, path in enumerate(self._paths(number), start=number * self.part_size):
                self._statuses[index] = _status(path)
                yield path

    def _write(self, number: int, part: Predictions) -> None:
        start, count = number * self.part_size, len(self._paths(number))
        statuses = [self._statuses.pop(index, None) for index in range(start, start + count)]
        if not self.is_kept:
            return
        data = _encoded(number, statuses, part)
        self._bytes += len(data)
        try:
            if self._bytes > self.cache.limit:
                raise OutputError("the finished parts would exceed the limit of the cache")
            with self.cache.draft(_KIND, self.facts, ".part") as draft:
                draft.write_bytes(self.cache.code(_KIND, self.facts, data).encode() + data)
                make_private(self._folder)
                if not (self._folder / FACTS).exists():
                    write_json(self._folder / FACTS, self.facts)
                put_in_place(draft, self._file(number))
        except (OSError, OutputError) as error:
            self.progress.warn(f"an interrupted prediction will start again: {error}")
            self.is_kept = False
            remove(self._folder)
        self._written += 1
        if self._written % _PARTS_PER_TRIM == 1:
            self.cache.trim()

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:08}.part"

    def _read(self, number: int) -> Predictions | None:
        """Return a kept part; None if there is none, this user did not write it, or a file has changed."""
        if not self.is_kept:
            return None
        with suppress(OSError):
            content = self._file(number).read_bytes()
            code, data = content[:_CODE_BYTES], content[_CODE_BYTES:]
            if hmac.compare_digest(self.cache.code(_KIND, self.facts, data).encode(), code):
                return _decoded(number, data, self._paths(number), self.template)
        return None


def _encoded(number: int, statuses: Sequence[_Status], part: Predictions) -> bytes:
    skipped = [
        (before + index, file.reason)
        for index, (file, before) in enumerate(zip(part.skipped, part.skipped_at, strict=True))
    ]
    head = {"number": number, "statuses": statuses, "skipped": skipped, "reasons": part.reject_reasons}
    return json.dumps(head).encode() + b"\n" + np.ascontiguousarray(part.probabilities, np.float32).tobytes()


def _decoded(number: int, data: bytes, paths: Sequence[str], template: Predictions) -> Predictions | None:
    text, _, numbers = data.partition(b"\n")
    head = json.loads(text)
    statuses = [None if status is None else tuple(status) for status in head["statuses"]]
    if head["number"] != number or statuses != [_status(path) for path in paths]:
        return None
    skipped = dict(map(tuple, head["skipped"]))
    return replace(
        template,
        paths=tuple(path for index, path in enumerate(paths) if index not in skipped),
        probabilities=np.frombuffer(numbers, np.float32).reshape(-1, len(template.class_names)),
        skipped=tuple(Skipped(paths[index], reason) for index, reason in skipped.items()),
        reject_reasons=None if head["reasons"] is None else tuple(head["reasons"]),
        skipped_at=tuple(index - count for count, index in enumerate(skipped)),
    )


def _take(batches: Iterator[Predictions], count: int) -> list[Predictions]:
    taken: list[Predictions] = []
    while count > 0:
        taken.append(next(batches))
        count -= len(taken[-1].paths) + len(taken[-1].skipped)
    return taken


def _joined(batches: Sequence[Predictions]) -> Predictions:
    """Return the images of several batches as one."""
    first, at, images = batches[0], list[int](), 0
    for batch in batches:
        at += [images + before for before in batch.skipped_at]
        images += len(batch.paths)
    reasons = tuple(reason for batch in batches for reason in batch.reasons())
    return replace(
        first,
        paths=tuple(path for batch in batches for path in batch.paths),
        probabilities=np.concatenate([batch.probabilities for batch in batches]),
        skipped=tuple(file for batch in batches for file in batch.skipped),
        digests=tuple(digest for batch in batches for digest in batch.digests),
        reject_reasons=None if first.reject_reasons is None else reasons,
        skipped_at=tuple(at),
    )


def _status(path: str) -> _Status:
    """Return what changes when a file is written, None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _model_digest(source: str) -> str:
    path = Path(source)
    if source.startswith(IMAGENET):
        return source
    if path.is_file():
        return digest_of_file(path).sha256
    return str(read_manifest(bundle_directory(path) / MANIFEST)["digest"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
