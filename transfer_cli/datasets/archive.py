"""The file of a data set: in the folder of Keras, downloaded once, and recognised by its digest before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from transfer_cli.catalog.datasets import DataSetSpec
from transfer_cli.errors import DataSetError
from transfer_cli.io.atomic import atomic_write, check_writable
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models.weights.connection import unreachable
from transfer_cli.models.weights.missing_weights import OFFLINE, VARIABLE
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.models.weights.transport import NotReceivedError, receive
from transfer_cli.progress import SILENT, Progress
from transfer_cli.text import megabytes

MIRROR = "TRANSFER_CLI_DATASETS"
"""Environment variable with the address of a folder that has the files, in place of the address in the catalog."""
_ROOM = 1.1
"""A file that is larger than expected by more than this factor is another one."""


def archive_path(spec: DataSetSpec) -> Path:
    """Return where the file of a data set is kept: in the folder `datasets` of ``KERAS_HOME``."""
    return cache_folder().parent / "datasets" / spec.file


def address_of(spec: DataSetSpec) -> str:
    """Return the address of a data set: that of the catalog, or in the folder that `MIRROR` names."""
    mirror = os.environ.get(MIRROR, "").strip()
    return f"{mirror.rstrip('/')}/{spec.file}" if mirror else spec.url


def fetch_archive(spec: DataSetSpec, *, offline: bool = False, progress: Progress = SILENT) -> Path:
    """Return the verified file of a data set; it is downloaded if it is not there, or damaged.

    Parameters
    ----------
    spec : DataSetSpec
    offline : bool
        Never open an internet connection.
    progress : Progress

    Raises
    ------
    DataSetError
        If it cannot be downloaded, or the download has another digest; it is deleted then.
    OutputError
        If it cannot be stored.
    """
    path, url = archive_path(spec), address_of(spec)
    if path.is_file():
        if _is_whole(spec, path):
            return path
        if not offline:
            progress.warn(f"{path} is not the file of {spec.name} (another SHA-256); downloading it again")
    if reason := OFFLINE if offline else unreachable(url):
        raise _unavailable(spec, path, reason)
    check_writable(path)
    progress.note(f"downloading {url}")
    with atomic_write(path) as draft:
        try:
            receive(url, spec.file, draft, progress, most_bytes=int(_ROOM * spec.bytes))
        except NotReceivedError as error:
            raise _unavailable(spec, path, str(error)) from error
        if not _is_whole(spec, draft):
            raise DataSetError(
                f"The download from {url} is not the file {spec.file}: expected SHA-256 {spec.sha256}. Received: "
                f"{digest_of_file(draft).sha256}. It was deleted.",
                hint="A proxy or a sign-in page may have answered instead. When that is solved, run the same command "
                "again.",
            )
    return path


def _is_whole(spec: DataSetSpec, path: Path) -> bool:
    return digest_of_file(path).sha256 == spec.sha256


def _unavailable(spec: DataSetSpec, path: Path, reason: str) -> DataSetError:
    again = f"unset {VARIABLE}" if os.environ.get(VARIABLE) else "leave out --offline"
    where = f"With internet, {again if reason == OFFLINE else 'run the same command again'}"
    return DataSetError(
        f"{spec.name} needs a one-time download of {megabytes(spec.bytes)}, but {reason}.",
        hint=f"1. {where}.\n2. Without: download {spec.url} on another computer, and copy it to {path}\n"
        f"3. From a mirror: set {MIRROR} to the address of the folder that has {spec.file}\n"
        "4. Now, without a download: transfer-cli sample-data TARGET (without --dataset)",
    )
