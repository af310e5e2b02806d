"""A kit: weights in one tar file, carried to a machine without a network, with a manifest that is checked there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer_cli.catalog.backbones import CLASS_INDEX, WeightsFile
from transfer_cli.errors import ModelError
from transfer_cli.io.atomic import written_whole
from transfer_cli.io.digests import digest_of_file
from transfer_cli.models.weights.registry import uses

MANIFEST = "kit.json"
VERSION = 1
_MOST_FILES = 1000
_MOST_MANIFEST_BYTES = 10**6
_SECTOR = tarfile.BLOCKSIZE
_BLOCK = 1 << 20


class KitFile(BaseModel):
    """One file of a kit.

    Attributes
    ----------
    name : str
        In Keras's cache.
    backbone : str or None
        Whose weights they are; None for the names of ImageNet's classes.
    bytes : int
    sha256 : str
        Measured when it was packed.
    url : str
        Where Keras downloads it from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    backbone: str | None
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    url: str

    @property
    def weights_file(self) -> WeightsFile:
        """The file as the catalog knows it."""
        return CLASS_INDEX if self.name == CLASS_INDEX.name else uses()[self.name][0]


class Kit(BaseModel):
    """What the manifest of a kit says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kit_version: int = Field(ge=1)
    files: tuple[KitFile, ...] = Field(min_length=1, max_length=_MOST_FILES)

    @model_validator(mode="after")
    def _names_are_files_of_weights(self) -> Kit:
        names = [file.name for file in self.files]
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
                raise ValueError(f"it names a file outside the folder of weights: {name!r}")
            if name not in uses() and name != CLASS_INDEX.name:
                raise ValueError(f"it names {name}, which is no file of weights that this program knows")
        if len(set(names)) < len(names):
            raise ValueError("it names a file twice")
        return self


def write(target: Path, folder: Path, files: Sequence[WeightsFile]) -> Kit:
    """Write files of weights out of a folder into one tar, whole or not at all.

    Nothing of the machine is in it, neither times nor owners: the same files make the same bytes.
    """
    entries = []
    for file in files:
        digest = digest_of_file(folder / file.name)
        backbone = uses()[file.name][1].spec.name if file.name in uses() else None
        entries.append(
            KitFile(name=file.name, backbone=backbone, bytes=digest.bytes, sha256=digest.sha256, url=file.url)
        )
    kit = Kit(kit_version=VERSION, files=tuple(entries))
    manifest = json.dumps(kit.model_dump(), indent=2).encode()
    with written_whole(target) as draft, tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
        for entry in kit.files:
            with (folder / entry.name).open("rb") as content:
                tar.addfile(_member(entry.name, entry.bytes), content)
    return kit


def is_kit(path: Path) -> bool:
    """Return whether a file begins as a kit does, whole or not."""
    try:
        with path.open("rb") as file:
            return file.read(len(MANIFEST) + 1) == MANIFEST.encode() + b"\0"
    except OSError:
        return False


def unpack(path: Path, folder: Path) -> Kit:
    """Write the files of a kit into an empty folder, and return its manifest; every digest in it was then met.

    The tar is read header by header rather than with tarfile's own reading, which follows extensions of the format: a
    kit has plain files and nothing else, in plain bytes, so that none is larger than what lies on the disk.

    Raises
    ------
    ModelError
        When it is not a kit, is damaged or newer, or holds anything that its manifest does not name.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
    with file:
        kit = _manifest(file, path)
        waiting = {entry.name: entry for entry in kit.files}
        while header := _header(file, path):
            name, size = header
            entry = waiting.pop(name, None)
            if entry is None:
                raise _refused(path, f"it holds {name!r}, which its manifest does not name, or not twice")
            if size != entry.bytes:
                raise _refused(path, f"{name} has {size:,} bytes, and its manifest says {entry.bytes:,}")
            with (folder / name).open("xb") as out:
                digest = _copy(file, size, out, path)
                out.flush()
                os.fsync(out.fileno())
            if digest != entry.sha256:
                raise _refused(path, f"the SHA-256 of {name} is {digest}, and its manifest says {entry.sha256}")
    if waiting:
        raise _refused(path, f"{min(waiting)} is in its manifest and not in it")
    return kit


def _manifest(file: IO[bytes], path: Path) -> Kit:
    header = _header(file, path)
    if header is None or header[0] != MANIFEST or header[1] > _MOST_MANIFEST_BYTES:
        raise _refused(path, f"it does not begin with a manifest, {MANIFEST}")
    text = io.BytesIO()
    _copy(file, header[1], text, path)
    try:
        data = json.loads(text.getvalue())
        version = data["kit_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused(path, f"its manifest cannot be read ({error})") from None
    if not isinstance(version, int) or version > VERSION:
        raise ModelError(
            f"{path} is a kit of version {version}; this program knows {VERSION} at most.",
            hint="Install a newer transfer-cli, or pack the kit with this one.",
        )
    try:
        return Kit.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _refused(path, f"its manifest is not one: {place} {first['msg']}") from None


def _header(file: IO[bytes], path: Path) -> tuple[str, int] | None:
    """Return the name and the size of the next member, or None at the end."""
    block = file.read(_SECTOR)
    if len(block) < _SECTOR:
        raise _refused(path, "it ends too early")
    if not any(block):
        return None
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise _refused(path, f"it is no plain tar, or damaged ({error})") from None
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
        raise _refused(path, f"it holds {member.name!r}, which is no plain file")
    return member.name, member.size


def _copy(file: IO[bytes], size: int, out: Any, path: Path) -> str:
    """Copy the content of a member, leave out what fills its last block, and return the SHA-256."""
    digest, left = hashlib.sha256(), size
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            raise _refused(path, "it ends too early")
        digest.update(block)
        out.write(block)
        left -= len(block)
    file.read(-size % _SECTOR)
    return digest.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _refused(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} is no kit of weights that can be used: {reason}. Nothing of it was put in place.",
        hint="Copy it again, or make another on a machine with a network: "
        "transfer-cli weights pack NAME -o weights.tar",
    )
