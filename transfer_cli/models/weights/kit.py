"""Pack weights into a kit, one tar file with a manifest, and install it on an offline machine."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from transfer_cli.catalog.backbones import CLASS_INDEX, WeightsFile
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.io.atomic import atomic_write, check_writable, scratch_folder, write_error
from transfer_cli.io.digests import digest_of_file
from transfer_cli.io.untrusted.json_text import check_items, parse_json
from transfer_cli.models.weights import download
from transfer_cli.models.weights.integrity import damage, damaged_files
from transfer_cli.models.weights.registry import cache_folder, damaged_error, weight_uses
from transfer_cli.progress import Progress
from transfer_cli.regular_file import problem_of
from transfer_cli.text import counted

MANIFEST = "kit.json"
VERSION = 1
_MAX_FILES = 1000
_MAX_MANIFEST_BYTES = 10**6


class KitFile(BaseModel):
    """One file of a kit.

    Attributes
    ----------
    name : str
        File name in the Keras cache.
    backbone : str or None
        Backbone that uses the weights; None for the ImageNet class names.
    bytes : int
    sha256 : str
        Computed when the kit was packed.
    url : str
        Address from which Keras downloads the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    backbone: str | None
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    url: str

    @property
    def weights_file(self) -> WeightsFile:
        """The catalog's row for this file."""
        return CLASS_INDEX if self.name == CLASS_INDEX.name else weight_uses()[self.name][0]


class Kit(BaseModel):
    """The manifest of a kit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kit_version: int = Field(ge=1)
    files: tuple[KitFile, ...] = Field(min_length=1, max_length=_MAX_FILES)

    @model_validator(mode="before")
    @classmethod
    def _check_counts(cls, data: Any) -> Any:
        check_items(data, {"files": _MAX_FILES})
        return data

    @model_validator(mode="after")
    def _names_are_files_of_weights(self) -> Kit:
        names = [file.name for file in self.files]
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
                raise ValueError(f"it names a file outside the weights folder: {name!r}")
            if name not in weight_uses() and name != CLASS_INDEX.name:
                raise ValueError(f"it names {name}, which is not a known weights file")
        if len(set(names)) < len(names):
            raise ValueError("it lists a file twice")
        return self


def pack(target: Path, files: Sequence[WeightsFile], *, offline: bool, progress: Progress) -> Kit:
    """Write weights into a kit, atomically; missing ones are downloaded first.

    The tar holds no times and no owners, so the same files give the same bytes.

    Raises
    ------
    WeightsError
        If a file cannot be downloaded, or an installed one is damaged.
    OutputError
        If the kit cannot be written.
    """
    check_writable(target)
    if target.exists() and target.stat().st_size and not _is_kit(target):
        hint = "Choose another name with -o FILE.tar."
        raise OutputError(f"{target} exists and is not a weights kit; it is not overwritten.", hint=hint)
    files = list(dict.fromkeys(files))
    # Packing replaces nothing in the cache, so a damaged file is an error here.
    with progress.track(f"checking {counted(len(files), 'weights file')}", None):
        damaged = damaged_files(files)
    for file, reason in damaged.items():
        raise damaged_error(file, reason)
    download.download_missing(files, offline=offline, progress=progress)
    entries = tuple(
        KitFile(
            name=file.name,
            backbone=weight_uses()[file.name][1].spec.name if file.name in weight_uses() else None,
            url=file.url,
            **digest_of_file(cache_folder() / file.name).model_dump(),
        )
        for file in files
    )
    kit = Kit(kit_version=VERSION, files=entries)
    manifest = json.dumps(kit.model_dump(), indent=2).encode()
    with (
        progress.track(f"packing {target.name}, files", len(kit.files)) as advance,
        atomic_write(target) as draft,
        tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        tar.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
        for entry in kit.files:
            with (cache_folder() / entry.name).open("rb") as content:
                tar.addfile(_member(entry.name, entry.bytes), content)
            advance(1)
    return kit


def install(path: Path, *, overwrite: bool = False, progress: Progress) -> list[tuple[KitFile, str]]:
    """Install the weights of a kit into the Keras cache, after all of them were checked.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace installed files that differ; otherwise they are kept, with a warning.
    progress : Progress

    Returns
    -------
    list of (KitFile, {"installed", "replaced", "already installed", "kept"})
        What happened to each file; ``kept``: a different file of that name was there and was not replaced.

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
            read = unpack(path, staging)
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
                with atomic_write(folder / entry.name) as draft:
                    (staging / entry.name).replace(draft)
            if state == "kept":
                reason = damage(entry.weights_file, folder / entry.name)
                how = f"is damaged ({reason})" if reason else "differs from the file in the kit"
                progress.warn(f"kept {folder / entry.name}, which {how}; to replace it: --overwrite")
            done.append((entry, state))
    return done


def unpack(path: Path, folder: Path) -> Kit:
    """Write the files of a kit into an empty folder after checking their digests, and return the manifest.

    Only plain files that the manifest names are extracted; no mode, owner or time of the archive takes effect.

    Raises
    ------
    ModelError
        When the file is not a kit, is damaged or newer, or holds anything that its manifest does not name.
    """
    try:
        with _open_tar(path) as tar:
            return _unpack(tar, path, folder)
    except (tarfile.TarError, ValueError, RecursionError) as error:  # of extensions that tarfile reads
        raise _invalid(path, f"it is not a plain tar file, or it is damaged ({error})") from None


def _is_kit(path: Path) -> bool:
    """Return whether a file starts like a kit; it may be cut short."""
    try:
        with path.open("rb") as file:
            return file.read(len(MANIFEST) + 1) == MANIFEST.encode() + b"\0"
    except OSError:
        return False


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
    try:
        with scratch_folder(folder, ".kit.") as staging:
            download.remove_stale(folder.glob(".kit.????????"))
            yield staging
    except BaseException as error:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise write_error(error, folder) from error
        raise


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        # Opening a pipe that nobody writes would wait for ever.
        if reason := problem_of(path.stat()):
            raise ModelError(f"Cannot read {path}: {reason}.")
        return tarfile.open(path, "r:")  # refuses compressed archives
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from None


def _unpack(tar: tarfile.TarFile, path: Path, folder: Path) -> Kit:
    kit = _manifest(tar, path)
    missing = {entry.name: entry for entry in kit.files}
    for member in tar:
        if member.name == MANIFEST:
            continue
        entry = missing.pop(member.name, None)
        if entry is None:
            raise _invalid(path, f"it contains {member.name!r}, which the manifest does not list, or lists once")
        if not _is_plain(member):
            raise _invalid(path, f"{member.name!r} is not a plain file")
        if member.size != entry.bytes:
            raise _invalid(path, f"{entry.name} has {member.size:,} bytes; the manifest says {entry.bytes:,}")
        tar.extract(member, folder, set_attrs=False, filter="data")
        digest = digest_of_file(folder / entry.name).sha256
        if digest != entry.sha256:
            raise _invalid(path, f"the SHA-256 of {entry.name} is {digest}; the manifest says {entry.sha256}")
    if missing:
        raise _invalid(path, f"{min(missing)} is listed in the manifest but missing; the file may be cut short")
    return kit


def _manifest(tar: tarfile.TarFile, path: Path) -> Kit:
    member = tar.next()
    if member is None or member.name != MANIFEST or not _is_plain(member) or member.size > _MAX_MANIFEST_BYTES:
        raise _invalid(path, f"it does not start with a manifest, {MANIFEST}")
    try:
        data = parse_json(cast("IO[bytes]", tar.extractfile(member)).read(), most_bytes=_MAX_MANIFEST_BYTES)
        version = data["kit_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _invalid(path, f"its manifest cannot be read ({error})") from None
    if not isinstance(version, int) or version > VERSION:
        raise ModelError(
            f"{path} is a weights kit of version {version}; this program reads version {VERSION} and older.",
            hint="Install a newer transfer-cli, or pack the kit with this version.",
        )
    try:
        return Kit.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _invalid(path, f"its manifest is invalid: {place} {first['msg']}") from None


def _is_plain(member: tarfile.TarInfo) -> bool:
    # A pax header can make a file sparse: a small archive would then fill the disk with zeros.
    return member.isreg() and not member.issparse()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _invalid(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} is not a usable weights kit: {reason}. Nothing was installed.",
        hint="Copy it again, or make a new one on a machine with an internet connection: "
        "transfer-cli weights pack NAME -o weights.tar",
    )
