"""Download weights into the Keras cache: checked before they get their name, with a limit on stalls."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.errors import OutputError, WeightsError
from transfer_cli.io.atomic import atomic_write, check_writable, remove
from transfer_cli.models.weights import registry
from transfer_cli.models.weights.integrity import damage, damaged_files
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.models.weights.transport import NotReceivedError, receive
from transfer_cli.progress import Progress

_STALE_SECONDS = 24 * 3600


def download_missing(files: list[WeightsFile], *, offline: bool, progress: Progress) -> None:
    """Download the files that are missing from the Keras cache.

    Raises
    ------
    WeightsError
        When a file cannot be downloaded, or the download is not the file.
    OutputError
        When the cache cannot be written.
    """
    for file in registry.require_available(files, offline=offline):
        _get(file, files, progress)


def fetch(files: list[WeightsFile], *, offline: bool, progress: Progress) -> list[WeightsFile]:
    """Download missing and damaged files into the Keras cache, and return them.

    Raises
    ------
    WeightsError
        When a file cannot be downloaded, the download is not the file, or a file is damaged and `offline` is true.
    OutputError
        When the cache cannot be written.
    """
    damaged = damaged_files(files)
    for file, reason in damaged.items():
        if offline:
            raise registry.damaged_error(file, reason)
        progress.warn(f"{cache_folder() / file.name} is damaged ({reason}); downloading it again")
    wanted = [file for file in files if file in damaged or not registry.is_installed(file)]
    registry.require_connection(wanted, files, offline=offline)
    for file in wanted:
        _get(file, files, progress)
    return wanted


def _get(file: WeightsFile, files: list[WeightsFile], progress: Progress) -> None:
    """Download one of the files that are needed."""
    target = cache_folder() / file.name
    remove_stale(target.parent.glob(f".{target.stem}.????????{target.suffix}"))
    with _explaining_disk(target.parent):
        # Before the download, which may take minutes.
        check_writable(target)
        progress.note(f"downloading {file.url}")
        # Each process writes its own draft, so that two downloads of one file do not disturb each other.
        with atomic_write(target) as draft:
            _download(file, draft, files, progress)
            if reason := damage(file, draft):
                raise WeightsError(
                    f"The download from {file.url} is not the file {file.name}: {reason}. It was deleted.",
                    hint="A proxy or a sign-in page may have answered instead. When that is solved: "
                    f"transfer-cli weights fetch {registry.fetch_arguments(file)}",
                )


@contextmanager
def _explaining_disk(folder: Path) -> Iterator[None]:
    """Tell in the error of a file that cannot be written how to choose another folder for the weights."""
    try:
        yield
    except OutputError as error:
        full = "disk" in (error.hint or "")
        hint = "Free disk space, then run the same command again; or use another disk" if full else "Use another folder"
        raise OutputError(
            f"The weights could not be stored. {error}",
            hint=f"{hint}: set KERAS_HOME to a folder that you can write to (now {folder.parent}); "
            "weights that are there already are looked for in DIR/models.",
        ) from error


def _download(file: WeightsFile, target: Path, files: list[WeightsFile], progress: Progress) -> None:
    """Download a file; raise WeightsError if it does not arrive, or not whole."""
    try:
        receive(file.url, file.name, target, progress)
    except NotReceivedError as error:
        raise registry.unavailable_error(files, str(error)) from error


def remove_stale(drafts: Iterable[Path]) -> None:
    """Delete those files and folders that killed processes have left."""
    for draft in drafts:
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                remove(draft)
