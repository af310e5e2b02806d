"""A bundle as one file that can be sent, and back."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from transfer_cli.bundle.bundle import DEEPEST, MANIFEST, ModelBundle
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.inference.verify_bundle import look_at
from transfer_cli.io.atomic import must_be_ours, written_whole
from transfer_cli.io.untrusted.zip_file import members

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
_AT_A_TIME = 1 << 20
_AGAIN = "Copy it again, and compare its sha256sum with what transfer-cli bundle pack said."


def pack(path: Path, output: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the bundle at `path` (a bundle, or a run that holds one) into one zip file; return where that is.

    The same bundle gives the same bytes, on any machine: the manifest first, then its files in the order of their
    names, then those of each member of an ensemble, not compressed (weights hardly become shorter), with no time and no
    owner. What lies beside them in the folder stays there.

    Parameters
    ----------
    path : Path
    output : Path, optional
        Where to write; the name of the run and ``.zip`` in the current folder where it is not given.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    ModelError
        When the bundle is missing or damaged.
    OutputError
        When the file is there already, or cannot be written.
    """
    opened = ModelBundle.open(path)
    directory = opened.directory
    target = output or Path(f"{_name(directory)}.zip")
    if target.is_dir():
        raise OutputError(f"{target} is a folder. Expected the name of a file.")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} is there already.", hint="Add --overwrite, or another name with -o FILE.zip.")
    with written_whole(target) as draft, ZipFile(draft, "w", ZIP_STORED) as archive:
        for name in opened.files():
            entry = ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, _READABLE
            entry.file_size = (directory / name).stat().st_size
            with (directory / name).open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, _AT_A_TIME)
    return target


def unpack(archive: Path, target: Path, *, overwrite: bool = False) -> ModelBundle:
    """Write the bundle in a zip file to the directory `target`, whole or not at all.

    The file is taken for one that a stranger made: before `target` has its name each member was looked at, the digests
    fit, nothing is there that the manifest does not name, and each guard of `verify` has passed. Nothing of it is run.

    Parameters
    ----------
    archive : Path
    target : Path
    overwrite : bool
        Replace a bundle that is there.

    Raises
    ------
    ModelError
        When anything is wrong with the file.
    OutputError
        When the directory is there already, or cannot be written.
    """
    if not archive.is_file():
        raise ModelError(f"There is no file {archive}. Expected one that transfer-cli bundle pack has made.")
    if overwrite:
        must_be_ours(target, lambda path: (target / MANIFEST).is_file(), "not of a bundle")
    elif target.exists() or target.is_symlink():
        raise OutputError(f"{target} is there already.", hint="Add --overwrite, or another name with -o DIR.")
    try:
        entries = members(archive, may_be=_may_be, compressed=True)
    except ModelError as error:
        raise ModelError(str(error), hint=_AGAIN) from error
    names = {entry.filename for entry in entries}
    if MANIFEST not in names:
        raise ModelError(f"{archive} has no {MANIFEST}: it is not a packed bundle.", hint=_AGAIN)
    with written_whole(target) as draft:
        draft.mkdir()
        try:
            _extract(archive, entries, draft)
            opened = ModelBundle.open(draft)
            if others := names - {*opened.files()}:
                raise ModelError(f"{draft}/{min(others)} is not named by {MANIFEST}.")
            look_at(opened)
        except ModelError as error:
            # The draft is gone by the time that a person reads this.
            message = str(error).replace(f"{draft}/", f"{archive}: ").replace(str(draft), str(archive))
            message = message.replace(draft.name, target.name)
            raise ModelError(message, hint=error.hint) from error
    return opened.bundle


def _may_be(name: str) -> bool:
    *folders, _ = name.split("/")
    return len(folders) < DEEPEST and all(re.fullmatch(r"member-\d\d+", folder) for folder in folders)


def _extract(archive: Path, entries: list[ZipInfo], directory: Path) -> None:
    try:
        with ZipFile(archive) as opened:
            for entry in entries:
                place = directory / entry.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, place.open("xb") as file:
                    # A member gives no more than it says, whatever is stored of it.
                    shutil.copyfileobj(source, file, _AT_A_TIME)
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds at a damaged file
        raise ModelError(f"{archive} could not be unpacked: {error}.", hint=_AGAIN) from error


def _name(directory: Path) -> str:
    place = directory.resolve()
    return place.parent.name if place.name == "model" else place.name
