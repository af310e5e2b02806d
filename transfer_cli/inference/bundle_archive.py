"""Pack a bundle into one zip file, and unpack it safely."""

from __future__ import annotations

import atexit
import re
import shutil
import zlib
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from transfer_cli.bundle.bundle import MAX_DEPTH, ModelBundle
from transfer_cli.bundle.files import MANIFEST
from transfer_cli.errors import MissingModelError, ModelError, OutputError
from transfer_cli.inference.bundle_contents import check_contents
from transfer_cli.io.atomic import atomic_write, check_replaceable, check_writable, check_writable_folder
from transfer_cli.io.disk_errors import is_full
from transfer_cli.io.drafts import full_error, new_folder, remove_folder
from transfer_cli.io.untrusted.zip_file import list_members
from transfer_cli.progress import SILENT, Progress

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
_CHUNK_BYTES = 1 << 20
_COPY_AGAIN = "Copy the file again, and compare its sha256sum with the one that transfer-cli bundle pack printed."


def pack(path: Path, output: Path | None = None, *, overwrite: bool = False, progress: Progress = SILENT) -> Path:
    """Write the bundle at `path` (a bundle or a run) into a zip file; return its path.

    The zip file of a bundle has the same bytes on every machine: the manifest first, then the bundle's files sorted by
    name, then those of each ensemble member. They are stored without compression (weights are hardly compressible),
    times and owners. Other files in the folder are not packed.

    Parameters
    ----------
    path : Path
    output : Path, optional
        By default the name of the run with the suffix ``.zip``, in the current folder.
    overwrite : bool
        Replace an existing file.
    progress : Progress

    Raises
    ------
    ModelError
        If the bundle is missing or damaged.
    OutputError
        If the file exists, or cannot be written.
    """
    opened = ModelBundle.open(path)
    directory, place = opened.directory, opened.directory.resolve()
    target = output or Path(f"{(place.parent if place.name == 'model' else place).name}.zip")
    if target.is_dir():
        raise OutputError(f"{target} is a folder. Expected the name of a file, such as {target / 'model.zip'}.")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} already exists.", hint="Add --overwrite, or choose another name with -o FILE.zip.")
    check_writable(target)
    names = [*opened.files()]
    with (
        progress.track(f"packing {target.name}, files", len(names)) as advance,
        atomic_write(target) as draft,
        ZipFile(draft, "w", ZIP_STORED) as archive,
    ):
        for name in names:
            entry = ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, _READABLE
            entry.file_size = (directory / name).stat().st_size
            with (directory / name).open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, _CHUNK_BYTES)
            advance(1)
    return target


def unpack(archive: Path, target: Path, *, overwrite: bool = False, progress: Progress = SILENT) -> ModelBundle:
    """Write the bundle in a zip file to the directory `target` atomically.

    If `target` already holds this bundle, intact, nothing is written: the command can be repeated after a kill.
    The zip file is untrusted: before `target` gets its name, all member names and digests are verified, the zip file
    has no other files than the manifest names, and the contents passed the checks of `verify`. Nothing is executed.

    Parameters
    ----------
    archive : Path
    target : Path
    overwrite : bool
        Replace an existing bundle.
    progress : Progress

    Raises
    ------
    ModelError
        If a check fails.
    OutputError
        If the directory exists, or cannot be written.
    """
    if not archive.is_file():
        raise MissingModelError.of("packed bundle", archive)
    if overwrite:
        check_replaceable(target, lambda path: (target / MANIFEST).is_file(), "a bundle")
    elif target.exists() or target.is_symlink():
        if (bundle := _unpacked_before(archive, target)) is not None:
            return bundle
        raise OutputError(f"{target} already exists.", hint="Add --overwrite, or choose another name with -o DIR.")
    check_writable_folder(target, is_replaced=True)
    try:
        entries = list_members(archive, is_expected=_is_expected, compressed=True)
    except ModelError as error:
        raise ModelError(str(error), hint=_COPY_AGAIN) from error
    names = {entry.filename for entry in entries}
    if MANIFEST not in names:
        raise ModelError(f"{archive} is not a packed bundle: it has no {MANIFEST}.", hint=_COPY_AGAIN)
    with progress.track(f"unpacking and checking {archive.name}", None), atomic_write(target) as draft:
        draft.mkdir()
        try:
            _extract(archive, entries, draft)
            opened = ModelBundle.open(draft)
            if unlisted := names - {*opened.files()}:
                raise ModelError(f"{draft}/{min(unlisted)} is not listed in {MANIFEST}.")
            check_contents(opened)
        except ModelError as error:
            # The draft no longer exists when the message is read.
            message = str(error).replace(f"{draft}/", f"{archive}: ").replace(str(draft), str(archive))
            message = message.replace(draft.name, target.name)
            raise ModelError(message, hint=error.hint) from error
    return opened.bundle


def unpacked(archive: Path) -> Path:
    """Return a temporary folder with the bundle in a zip file, as `unpack` writes it; it is removed at exit.

    Raises
    ------
    ModelError
        If a check fails.
    OutputError
        If there is no room for it in the folder for temporary files.
    """
    folder = new_folder()
    # Runtimes may read the files for as long as the model is used.
    atexit.register(remove_folder, folder)
    try:
        unpack(archive, folder / archive.stem)
    except OutputError as error:
        if error.__cause__ is not None and is_full(error.__cause__):
            raise full_error(folder.parent, error.__cause__) from error.__cause__
        raise
    return folder / archive.stem


def _unpacked_before(archive: Path, target: Path) -> ModelBundle | None:
    """Return the bundle at `target` if it passes all checks and its files are those of the zip file."""
    try:
        opened = ModelBundle.open(target)
        check_contents(opened)
        entries = list_members(archive, is_expected=_is_expected, compressed=True)
        if {entry.filename for entry in entries} != {*opened.files()}:
            return None
        with ZipFile(archive) as packed:
            is_same = all(_is_same(packed, entry, target / entry.filename) for entry in entries)
    except (ModelError, OSError, BadZipFile, zlib.error):
        return None
    return opened.bundle if is_same else None


def _is_same(packed: ZipFile, entry: ZipInfo, path: Path) -> bool:
    with packed.open(entry) as one, path.open("rb") as other:
        while chunk := one.read(_CHUNK_BYTES):
            if other.read(len(chunk)) != chunk:
                return False
        return not other.read(1)


def _is_expected(name: str) -> bool:
    *folders, _ = name.split("/")
    return len(folders) < MAX_DEPTH and all(re.fullmatch(r"member-\d\d+", folder) for folder in folders)


def _extract(archive: Path, entries: list[ZipInfo], directory: Path) -> None:
    try:
        with ZipFile(archive) as opened:
            for entry in entries:
                place = directory / entry.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, place.open("xb") as file:
                    # zipfile never returns more bytes than the declared size, which was checked.
                    shutil.copyfileobj(source, file, _CHUNK_BYTES)
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib raise many types for a damaged file
        raise ModelError(f"{archive} could not be unpacked: {error}.", hint=_COPY_AGAIN) from error
