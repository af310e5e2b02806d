"""Weights brought into Keras's cache: under another name until they are whole, with an end to the patience."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.errors import WeightsError
from transfer_cli.io.atomic import remove, written_whole
from transfer_cli.models.weights.integrity import damage, damaged_here
from transfer_cli.models.weights.registry import (
    STALL_SECONDS,
    cache_folder,
    cannot_be_had,
    fetch_words,
    is_damaged,
    is_here,
    must_answer,
    must_be_had,
)
from transfer_cli.progress import Progress

_BLOCK = 1 << 18
_STALE_SECONDS = 24 * 3600


def bring(files: list[WeightsFile], *, offline: bool, progress: Progress) -> None:
    """Have every file in Keras's cache; do nothing for those that are there.

    Raises
    ------
    WeightsError
        When a file is not here and cannot be had, or what came is not the file.
    OutputError
        When the cache cannot be written.
    """
    for file in must_be_had(files, offline=offline):
        _get(file, progress)


def fetch(files: list[WeightsFile], *, offline: bool, progress: Progress) -> list[WeightsFile]:
    """Have every file whole in Keras's cache, and return those that were downloaded: missing ones and damaged ones.

    Raises
    ------
    WeightsError
        When a file is not here and cannot be had, one that is here is damaged and `offline` is true, or what came is
        not the file.
    OutputError
        When the cache cannot be written.
    """
    damaged = damaged_here(files)
    for file, reason in damaged.items():
        if offline:
            raise is_damaged(file, reason)
        progress.warn(f"{cache_folder() / file.name} is damaged and is downloaded anew: {reason}")
    wanted = [file for file in files if file in damaged or not is_here(file)]
    must_answer(wanted, offline=offline)
    for file in wanted:
        _get(file, progress)
    return wanted


def _get(file: WeightsFile, progress: Progress) -> None:
    target = cache_folder() / file.name
    _sweep(file)
    # The draft has a name of its own, so that two processes do not write into one.
    progress.note(f"downloading {file.url}")
    with written_whole(target) as draft:
        with draft.open("wb") as out:
            for block in _blocks(file, progress):
                out.write(block)
        if reason := damage(file, draft):
            raise WeightsError(
                f"What {file.url} sent is not the file {file.name}: {reason}. It was thrown away.",
                hint="A proxy or a sign-in page may have answered in its place. Once it does not: "
                f"transfer-cli weights fetch {fetch_words(file)}",
            )


def _blocks(file: WeightsFile, progress: Progress) -> Iterator[bytes]:
    """Yield the content of a file from its server.

    Raises
    ------
    WeightsError
        When it does not come, or ends too early.
    """
    try:
        with urllib.request.urlopen(file.url, timeout=STALL_SECONDS) as answer:
            yield from _read(answer, file, progress)
    except Exception as error:  # a proxy may answer with anything
        reason = getattr(error, "reason", None) or error
        late = f"nothing arrived for {STALL_SECONDS:.0f} seconds"
        raise cannot_be_had(file, late if isinstance(reason, TimeoutError) else f"{reason}") from error


def _read(answer: Any, file: WeightsFile, progress: Progress) -> Iterator[bytes]:
    said = answer.headers.get("Content-Length")
    expected, received = int(said) if said else None, 0
    with progress.track(f"{file.name}, MB", expected and -(-expected // 10**6)) as advance:
        while block := answer.read(_BLOCK):
            before, received = received, received + len(block)
            advance(-(-received // 10**6) - -(-before // 10**6))
            yield block
    if expected is not None and received != expected:
        raise ConnectionError(f"the download ended after {received:,} of {expected:,} bytes")


def _sweep(file: WeightsFile) -> None:
    """Remove the drafts of processes that died."""
    target = cache_folder() / file.name
    for draft in target.parent.glob(f".{target.stem}.????????{target.suffix}"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                remove(draft)
