"""Pack weights into a kit, and install a kit on an offline machine."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.io.atomic import check_writable, remove, write_error
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models.weights import kit_file
from transfer_cli.models.weights.integrity import damage, damaged_files
from transfer_cli.models.weights.kit_file import Kit, KitFile
from transfer_cli.models.weights.registry import cache_folder, damaged_error
from transfer_cli.progress import Progress

_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Installed:
    """What happened to one file of a kit.

    Attributes
    ----------
    file : KitFile
    state : {"installed", "replaced", "already installed", "kept"}
        ``kept``: a different file of that name was there and was not replaced.
    """

    file: KitFile
    state: str


def pack(target: Path, files: Sequence[WeightsFile], *, offline: bool, progress: Progress) -> Kit:
    """Write weights into a kit; missing ones are downloaded first.

    Raises
    ------
    WeightsError
        If a file cannot be downloaded, or an installed one is damaged.
    OutputError
        If the kit cannot be written.
    """
    from transfer_cli.models.weights import download

    check_writable(target)
    if target.exists() and target.stat().st_size and not kit_file.is_kit(target):
        raise OutputError(
            f"{target} exists and is not a weights kit; it is not overwritten.",
            hint="Choose another name with -o FILE.tar.",
        )
    files = list(dict.fromkeys(files))
    # Packing replaces nothing in the cache, so a damaged file is an error here.
    for file, reason in damaged_files(files).items():
        raise damaged_error(file, reason)
    download.download_missing(files, offline=offline, progress=progress)
    return kit_file.write(target, cache_folder(), files)


def install(path: Path, *, overwrite: bool = False, progress: Progress) -> list[Installed]:
    """Install the weights of a kit into the Keras cache, after all of them were checked.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace installed files that differ; otherwise they are kept, with a warning.
    progress : Progress

    Raises
    ------
    ModelError
        If the kit or a file in it is invalid; then nothing is installed.
    OutputError
        If the cache cannot be written.
    """
    folder = cache_folder()
    done = []
    with _staging(folder) as staging:
        with progress.track(f"checking {path}", None):
            read = kit_file.unpack(path, staging)
            for entry in read.files:
                if reason := damage(entry.weights_file, staging / entry.name):
                    raise ModelError(
                        f"{entry.name} in {path} is not the file that Keras publishes: {reason}. "
                        "Nothing was installed.",
                        hint=f"Pack it again from an intact file: transfer-cli weights pack {entry.backbone}",
                    )
        for entry in read.files:
            state = _state(entry, folder / entry.name, overwrite)
            if state in ("installed", "replaced"):
                (staging / entry.name).replace(folder / entry.name)
            if state == "kept":
                reason = damage(entry.weights_file, folder / entry.name)
                how = f"is damaged ({reason})" if reason else "differs from the file in the kit"
                progress.warn(f"kept {folder / entry.name}, which {how}; to replace it: --overwrite")
            done.append(Installed(entry, state))
    return done


def _state(entry: KitFile, target: Path, overwrite: bool) -> str:
    if not target.exists():
        return "installed"
    if target.is_file() and digest_of_file(target).sha256 == entry.sha256:
        return "already installed"
    return "replaced" if overwrite else "kept"


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield a new folder on the disk of `folder`; on an error, remove it and all folders made for it."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    staging = folder / f".kit.{secrets.token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        _sweep(folder)
        yield staging
    except BaseException as error:
        remove(staging)
        for place in made:
            with suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise write_error(error, folder) from error
        raise
    finally:
        remove(staging)


def _sweep(folder: Path) -> None:
    """Delete the folders that killed processes have left."""
    for left in folder.glob(".kit.????????"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                remove(left)
