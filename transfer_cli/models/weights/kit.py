"""Weights packed on a machine with a network, and put in place on one without."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.backbones import WeightsFile
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.io.atomic import must_be_writable, refused, remove
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models.weights import kit_file
from transfer_cli.models.weights.integrity import damage, damaged_here
from transfer_cli.models.weights.kit_file import Kit, KitFile
from transfer_cli.models.weights.registry import cache_folder, is_damaged
from transfer_cli.progress import Progress

_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Installed:
    """What became of one file of a kit.

    Attributes
    ----------
    file : KitFile
    state : {"installed", "replaced", "here already", "kept"}
        ``kept``: another file of that name was here, and stays.
    """

    file: KitFile
    state: str


def pack(target: Path, files: Sequence[WeightsFile], *, offline: bool, progress: Progress) -> Kit:
    """Write a kit of weights, having downloaded what is not here.

    Raises
    ------
    WeightsError
        When a file cannot be had, or one that is here is damaged.
    OutputError
        When the kit cannot be written.
    """
    from transfer_cli.models.weights import download

    must_be_writable(target)
    if target.exists() and target.stat().st_size and not kit_file.is_kit(target):
        raise OutputError(
            f"{target} is there already, is no kit of weights, and would be lost.",
            hint="Choose another name with -o FILE.tar.",
        )
    files = list(dict.fromkeys(files))
    # One that is damaged is somebody's business before it travels: here nothing is replaced unasked.
    for file, reason in damaged_here(files).items():
        raise is_damaged(file, reason)
    download.bring(files, offline=offline, progress=progress)
    return kit_file.write(target, cache_folder(), files)


def install(path: Path, *, overwrite: bool = False, progress: Progress) -> list[Installed]:
    """Put the weights of a kit into Keras's cache, once all of them were found right.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace files that are here and differ; else they are kept, and that is said.
    progress : Progress

    Raises
    ------
    ModelError
        When the kit, or any file in it, is not what it should be; then nothing is put in place.
    OutputError
        When the cache cannot be written.
    """
    folder = cache_folder()
    done = []
    with _staging(folder) as staging:
        with progress.track(f"checking {path}", None):
            read = kit_file.unpack(path, staging)
            for entry in read.files:
                if reason := damage(entry.weights_file, staging / entry.name):
                    raise ModelError(
                        f"{path} holds {entry.name}, which is not the file that Keras wants: {reason}. "
                        "Nothing of the kit was put in place.",
                        hint=f"Pack it again where Keras has a good one: transfer-cli weights pack {entry.backbone}",
                    )
        for entry in read.files:
            state = _state(entry, folder / entry.name, overwrite)
            if state in ("installed", "replaced"):
                (staging / entry.name).replace(folder / entry.name)
            if state == "kept":
                reason = damage(entry.weights_file, folder / entry.name)
                how = f"is damaged ({reason})" if reason else "differs from the kit's"
                progress.warn(f"{folder / entry.name} is here and {how}: it is kept; --overwrite takes the kit's")
            done.append(Installed(entry, state))
    return done


def _state(entry: KitFile, target: Path, overwrite: bool) -> str:
    if not target.exists():
        return "installed"
    if target.is_file() and digest_of_file(target).sha256 == entry.sha256:
        return "here already"
    return "replaced" if overwrite else "kept"


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield a new folder on the disk of `folder`; on an error nothing of what was made for it is left."""
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
            raise refused(error, folder) from error
        raise
    finally:
        remove(staging)


def _sweep(folder: Path) -> None:
    """Remove what processes that died have left."""
    for left in folder.glob(".kit.????????"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                remove(left)
