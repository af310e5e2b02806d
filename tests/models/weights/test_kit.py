"""Weights kits are packed and installed; hostile and damaged ones are refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.weights_files import NARROW, RESNET, TINY, in_cache, save_weights, snapshot
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import ModelError, OutputError, WeightsError
from transfer_cli.models.weights.integrity import verify
from transfer_cli.models.weights.kit import install, pack, unpack
from transfer_cli.models.weights.registry import cache_folder, files_of, weight_uses
from transfer_cli.progress import SILENT

FILES = [files_of(find(name), top=False)[0] for name in ("mobilenet@0.25", "mobilenet_v2@0.35")]


class RecordedWarnings:
    """A progress that keeps its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.track = SILENT.track

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, message: str) -> None:
        """Ignore notes."""


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a kit of two files; the Keras cache is then that of another machine, still empty."""
    in_cache(TINY, NARROW)
    target = tmp_path / "weights.tar"
    pack(target, FILES, offline=True, progress=SILENT)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "other" / "keras"))
    return target


def entry(name: str, content: bytes, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    facts = {"name": name, "backbone": None, "bytes": len(content), "sha256": sha256, "url": "https://a/b"}
    return {**facts, **changes}


def manifest(entries: Iterable[dict[str, Any]], **changes: Any) -> bytes:
    return json.dumps({"kit_version": 1, "files": [*entries], **changes}).encode()


def write_tar(target: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(target, mode, format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload]
        for named, content in members:
            member = tarfile.TarInfo(named) if isinstance(named, str) else named
            member.size = member.size or len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def test_pack_existing_file_is_replaced_only_if_a_kit(tmp_path: Path) -> None:
    in_cache(TINY, NARROW)
    target = tmp_path / "notes.txt"
    target.write_bytes(b"a year of work")
    with pytest.raises(OutputError, match="not a weights kit"):
        pack(target, FILES, offline=True, progress=SILENT)
    assert target.read_bytes() == b"a year of work"
    target.write_bytes(b"")
    pack(target, FILES, offline=True, progress=SILENT)
    first = target.read_bytes()
    pack(target, FILES, offline=True, progress=SILENT)
    assert target.read_bytes() == first


def test_install_on_another_machine_copies_all_files(packed: Path, tmp_path: Path) -> None:
    before = snapshot(tmp_path / "keras" / "models")
    states = [state for _, state in install(packed, progress=SILENT)]
    assert states == ["installed", "installed"]
    assert snapshot(cache_folder()) == before
    assert {*before} == {TINY, NARROW}


def test_pack_same_files_gives_same_bytes(packed: Path, tmp_path: Path) -> None:
    install(packed, progress=SILENT)
    again = tmp_path / "again.tar"
    pack(again, [*FILES, FILES[0]], offline=True, progress=SILENT)
    assert again.read_bytes() == packed.read_bytes()
    with tarfile.open(again) as tar:
        assert tar.getnames() == ["kit.json", TINY, NARROW]


def test_install_existing_files_are_kept_or_replaced(packed: Path) -> None:
    install(packed, progress=SILENT)
    good = snapshot(cache_folder())
    assert [state for _, state in install(packed, progress=SILENT)] == ["already installed"] * 2
    own = save_weights(cache_folder() / TINY, value=2.0).read_bytes()
    (cache_folder() / NARROW).write_bytes(b"cut")
    progress = RecordedWarnings()
    assert [state for _, state in install(packed, progress=progress)] == ["kept", "kept"]
    assert snapshot(cache_folder()) == {TINY: own, NARROW: b"cut"}
    assert f"{TINY}, which differs from the file in the kit; to replace it: --overwrite" in progress.warnings[0]
    assert f"{NARROW}, which is damaged (it cannot be read as HDF5" in progress.warnings[1]
    assert [state for _, state in install(packed, overwrite=True, progress=SILENT)] == ["replaced", "replaced"]
    assert snapshot(cache_folder()) == good


def test_pack_damaged_weights_raises(tmp_path: Path) -> None:
    in_cache(TINY, NARROW)
    (cache_folder() / NARROW).write_bytes((cache_folder() / NARROW).read_bytes()[:-9])
    with pytest.raises(WeightsError, match="are damaged: it cannot be read as HDF5"):
        pack(tmp_path / "weights.tar", FILES, offline=True, progress=SILENT)
    assert not (tmp_path / "weights.tar").exists()


def test_pack_missing_weights_keeps_older_kit(tmp_path: Path) -> None:
    in_cache(TINY)
    (tmp_path / "weights.tar").write_bytes(b"kit.json\0an older one")
    with pytest.raises(WeightsError, match="--offline was given"):
        pack(tmp_path / "weights.tar", FILES, offline=True, progress=SILENT)
    assert (tmp_path / "weights.tar").read_bytes() == b"kit.json\0an older one"
    assert {*snapshot(tmp_path)} == {"weights.tar", "keras/", "keras/models/", f"keras/models/{TINY}"}


GOOD = b"any content"


def write_bytes(target: Path, content: bytes) -> Path:
    target.write_bytes(content)
    return target


def special(kind: bytes, name: str = TINY) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def long_name(target: Path) -> Path:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("kit.json" + "x" * 300))
    return target


def with_pax_headers(target: Path, headers: dict[str, str]) -> Path:
    """Write a kit whose second member has pax headers, and no byte on the disk."""
    content = manifest([entry(TINY, bytes(10**6))])
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, of_member in (("kit.json", content, {}), (TINY, b"", headers)):
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(data), of_member
            tar.addfile(member, io.BytesIO(data))
    return target


def sparse_by_pax_header(target: Path) -> Path:
    sparse = {"major": "0", "minor": "1", "name": TINY, "size": str(10**6), "numblocks": "0", "map": f"{10**6},0"}
    return with_pax_headers(target, {f"GNU.sparse.{key}": value for key, value in sparse.items()})


def unreadable_pax_header(target: Path) -> Path:
    return with_pax_headers(target, {"GNU.sparse.map": "a,b"})


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a name that leaves the folder": (
        lambda at: write_tar(at, [("kit.json", manifest([entry("../evil.h5", GOOD)])), ("../evil.h5", GOOD)]),
        "a file outside the weights folder: '../evil.h5'",
    ),
    "an absolute name": (
        lambda at: write_tar(at, [("kit.json", manifest([entry("/tmp/evil.h5", GOOD)])), ("/tmp/evil.h5", GOOD)]),
        "outside the weights folder",
    ),
    "a hidden name": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(".evil.h5", GOOD)]))]),
        "outside the weights folder",
    ),
    "a name that Keras never looks for": (
        lambda at: write_tar(at, [("kit.json", manifest([entry("keras.json", GOOD)])), ("keras.json", GOOD)]),
        "which is not a known weights file",
    ),
    "a name with another in it": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(f"{TINY}\n", GOOD)]))]),
        "outside the weights folder",
    ),
    "a member that the manifest does not name": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)])), ("../evil.h5", GOOD), (TINY, GOOD)]),
        "contains '../evil.h5', which the manifest does not list",
    ),
    "a member twice": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)])), (TINY, GOOD), (TINY, GOOD)]),
        "which the manifest does not list, or lists once",
    ),
    "a name twice": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)] * 2)), (TINY, GOOD)]),
        "lists a file twice",
    ),
    "too many files": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)] * 1001))]),
        "at most 1000",
    ),
    "a manifest that is too long": (
        lambda at: write_tar(at, [("kit.json", b" " * (10**6 + 1))]),
        "does not start with a manifest",
    ),
    "a symbolic link": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, b"")])), (special(tarfile.SYMTYPE), b"")]),
        "is not a plain file",
    ),
    "a hard link": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, b"")])), (special(tarfile.LNKTYPE), b"")]),
        "is not a plain file",
    ),
    "a device": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, b"")])), (special(tarfile.CHRTYPE), b"")]),
        "is not a plain file",
    ),
    "a sparse file": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, b"")])), (special(tarfile.GNUTYPE_SPARSE), b"")]),
        "is not a plain file",
    ),
    "a sparse file by a pax header": (sparse_by_pax_header, "is not a plain file"),
    "a pax header that cannot be read": (unreadable_pax_header, "not a plain tar file"),
    "a folder": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, b"")])), (special(tarfile.DIRTYPE), b"")]),
        "is not a plain file",
    ),
    "an extension of the format": (long_name, "does not start with a manifest"),
    "a compressed bomb": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, bytes(10**7))])), (TINY, bytes(10**7))], "w:gz"),
        "not a plain tar file",
    ),
    "another content than the manifest says": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)])), (TINY, GOOD[::-1])]),
        f"the SHA-256 of {TINY} is ",
    ),
    "another length than the manifest says": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD, bytes=10**15)])), (TINY, GOOD)]),
        f"{TINY} has 11 bytes; the manifest says 1,000,000,000,000,000",
    ),
    "no weights, but digests that fit": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)])), (TINY, GOOD)]),
        "is not the file that Keras publishes: it cannot be read as HDF5",
    ),
    "digests that fit each other and not Keras's": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(RESNET, GOOD)])), (RESNET, GOOD)]),
        "; Keras publishes 4d473c1dd8becc155b73f8504c6f6626",
    ),
    "a newer version": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD, more=1)], kit_version=2)), (TINY, GOOD)]),
        "a weights kit of version 2; this program reads version 1 and older",
    ),
    "no version": (lambda at: write_tar(at, [("kit.json", b"{}")]), "its manifest cannot be read"),
    "a manifest that is no JSON": (lambda at: write_tar(at, [("kit.json", b"[" * 10**5)]), "manifest cannot be read"),
    "no files": (lambda at: write_tar(at, [("kit.json", manifest([]))]), "its manifest is invalid: files"),
    "no manifest": (lambda at: write_tar(at, [(TINY, GOOD)]), "does not start with a manifest"),
    "a file of the manifest left out": (
        lambda at: write_tar(at, [("kit.json", manifest([entry(TINY, GOOD)]))]),
        "is listed in the manifest but missing",
    ),
    "no tar": (lambda at: write_bytes(at, b"no tar at all" * 99), "not a plain tar file"),
    "nothing": (lambda at: write_bytes(at, b""), "empty file"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_install_invalid_kit_is_refused(kind: str, tmp_path: Path) -> None:
    make, reason = HOSTILE[kind]
    path = make(tmp_path / "hostile.tar")
    before = snapshot(tmp_path)
    with pytest.raises(ModelError) as caught:
        install(path, progress=SILENT)
    assert caught.value.exit_code == 4
    assert reason in str(caught.value)
    assert caught.value.hint
    assert snapshot(tmp_path) == before


def test_install_weights_declared_larger_than_memory_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / TINY, "w") as file:
        file.create_dataset("kernel", (10**15,), "f4", chunks=(1024,), compression="gzip")
    content = (tmp_path / TINY).read_bytes()
    assert len(content) < 10_000
    path = write_tar(tmp_path / "bomb.tar", [("kit.json", manifest([entry(TINY, content)])), (TINY, content)])
    with pytest.raises(ModelError, match="it holds 1,000,000,000,000,000 numbers; the network has 218,544 parameters"):
        install(path, progress=SILENT)
    assert not cache_folder().exists()


@pytest.mark.parametrize("cut", [0.1, 0.3, 0.5, 0.9])
def test_install_truncated_kit_is_refused(packed: Path, cut: float, tmp_path: Path) -> None:
    content = packed.read_bytes()
    packed.write_bytes(content[: int(len(content) * cut)])
    before = snapshot(tmp_path)
    with pytest.raises(ModelError, match="unexpected end of data"):
        install(packed, progress=SILENT)
    assert snapshot(tmp_path) == before


def test_install_any_damaged_byte_is_found(packed: Path, tmp_path: Path) -> None:
    """Damage single bytes in headers, in the manifest and in the files."""
    content = packed.read_bytes()
    entries = unpack(packed, _new(tmp_path / "unpacked")).files
    first = 512 + -(-len(kit_manifest(packed)) // 512) * 512
    places = [3, 130, 150, 530, first + 5, first + 512 + 4000, first + 512 + entries[0].bytes - 1]
    before = {name for name in snapshot(tmp_path) if not name.startswith("unpacked")}
    for place in places:
        spoilt = bytearray(content)
        spoilt[place] ^= 0x11
        packed.write_bytes(spoilt)
        with pytest.raises(ModelError):
            install(packed, progress=SILENT)
    assert {name for name in snapshot(tmp_path) if not name.startswith("unpacked")} == before
    packed.write_bytes(content)
    assert len(install(packed, progress=SILENT)) == 2


def kit_manifest(path: Path) -> bytes:
    with tarfile.open(path) as tar:
        member = tar.extractfile("kit.json")
        assert member
        return member.read()


def _new(path: Path) -> Path:
    path.mkdir()
    return path


def elsewhere(path: Path, kind: str) -> bytes:
    """Return an HDF5 file with as many numbers as the tiny network, which are in another file or nowhere."""
    count, other = weight_uses()[TINY][1].numbers, path.with_name("other.bin")
    other.write_bytes(bytes(4 * count))
    with h5py.File(path, "w") as file:
        if kind == "external":
            file.create_dataset("kernel", (count,), "f4", external=[(str(other), 0, 4 * count)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((count,), "f4")
            layout[:] = h5py.VirtualSource(str(other), "kernel", (count,))
            file.create_virtual_dataset("kernel", layout)
        elif kind == "unwritten":
            file.create_dataset("kernel", (count,), "f4")
        else:
            file["kernel"] = np.ones(count, np.float32)
            links = {"external link": h5py.ExternalLink(str(other), "/a"), "soft link": h5py.SoftLink("/kernel")}
            file["link"] = links[kind]
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["external", "virtual", "unwritten", "external link", "soft link"])
def test_install_weights_stored_elsewhere_are_refused(kind: str, tmp_path: Path) -> None:
    data = elsewhere(tmp_path / "weights.h5", kind)
    kit = write_tar(tmp_path / "kit.tar", [("kit.json", manifest([entry(TINY, data)])), (TINY, data)])
    with pytest.raises(ModelError, match="is not the file that Keras publishes: it cannot be read as HDF5"):
        install(kit, progress=SILENT)
    assert not (cache_folder() / TINY).exists()


@pytest.mark.parametrize("kind", ["external", "virtual", "external link"])
def test_verify_weights_stored_elsewhere_are_damaged(kind: str, tmp_path: Path) -> None:
    elsewhere(tmp_path / "weights.h5", kind)
    cache_folder().mkdir(parents=True)
    shutil.copyfile(tmp_path / "weights.h5", cache_folder() / TINY)
    assert [check.state for check in verify(["mobilenet@0.25"])] == ["damaged"]
