"""Hostile files with correct digests, so that only the check of their content can refuse them."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transfer_cli.bundle.files import MANIFEST
from transfer_cli.bundle.manifest import digest_of_manifest, manifest_text
from transfer_cli.io.digests import digest_of_file


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._marker),)


def copied(run: Path, target: Path) -> Path:
    """Copy the bundle of a run."""
    return Path(shutil.copytree(run / "model", target))


def reseal(bundle: Path, **changes: object) -> Path:
    """Change the manifest of a bundle, and update all its digests to the present files."""
    data = json.loads((bundle / MANIFEST).read_text()) | changes
    for name in data["files"]:
        if (bundle / name).is_file() and "files" not in changes:
            data["files"][name] = digest_of_file(bundle / name).model_dump()
    data["digest"] = digest_of_manifest(data)
    (bundle / MANIFEST).write_text(manifest_text(data))
    return bundle


def zip_of(members: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def members_of(path: Path) -> dict[str, bytes]:
    """Return the members of a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_member(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one member of a zip file."""
    members = members_of(path)
    members[name] = change(members[name])
    path.write_bytes(zip_of(members))


def with_json(path: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON member of a zip file."""

    def changed(data: bytes) -> bytes:
        value = json.loads(data)
        return json.dumps(change(value) or value).encode()

    with_member(path, name, changed)
