"""Are the files of a run whole? After a power cut a file system may leave empty files, or zeros in place of data."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.manifest import MAX_BYTES, verify_file
from transfer_cli.errors import ModelError
from transfer_cli.io.digests import FileDigest
from transfer_cli.io.untrusted.json_text import read_json

_PARQUET = b"PAR1"


def damage_of_file(path: Path) -> str | None:
    """Return what is wrong with a file of a run, by its beginning and its end; None if it is whole or missing."""
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            file.seek(-min(4, len(begin)), 2)
            end = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if not begin:
        return f"{path} is empty"
    whole = b"\0" not in begin + end[-1:]
    if path.suffix == ".parquet":
        whole = begin == end == _PARQUET
    elif path.suffix == ".json":
        whole = _is_json(path)
    return None if whole else f"{path} is damaged"


def damage_of_bundle(folder: Path) -> str | None:
    """Return which file of a bundle, or of its members, does not have the digest in its manifest; None if all have."""
    manifest = folder / MANIFEST
    try:
        files = read_json(manifest, most_bytes=MAX_BYTES)["files"]
        for name, digest in files.items():
            verify_file(folder, name, FileDigest.model_validate(digest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{manifest} is empty or damaged"
    except ModelError as error:
        return str(error).split(":")[0].split(". ")[0]
    return next(filter(None, map(damage_of_bundle, sorted(folder.glob("member-*/")))), None)


def _is_json(path: Path) -> bool:
    try:
        read_json(path)
    except (OSError, ValueError, RecursionError):
        return False
    return True
