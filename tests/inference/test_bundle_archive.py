from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile_files import copied, members_of, reseal, with_json, zip_of
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.manifest import manifest_text
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.inference.bundle_archive import pack, unpack, unpacked


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def packed(trained: Path, tmp_path: Path) -> Path:
    return pack(trained, tmp_path / "first.zip")


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_unpack_restores_the_packed_bundle(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    bundle = unpack(pack(run, tmp_path / "x.zip"), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(run / "model")
    assert bundle == ModelBundle.read(run)[0] == ModelBundle.read(tmp_path / "again")[0]


def test_pack_same_bundle_gives_same_bytes(trained: Path, packed: Path, tmp_path: Path) -> None:
    copy = copied(trained, tmp_path / "copy")
    for number, path in enumerate(sorted(copy.iterdir(), reverse=True)):
        os.utime(path, (number, number))
        path.chmod(0o600)
    # Other files in the folder are not packed.
    (copy / "notes.txt").write_text("mine")
    assert pack(copy, tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    assert list(members_of(packed)) == ["bundle.json", *sorted(set(contents(trained / "model")) - {"bundle.json"})]
    # Control: another bundle gives other bytes.
    (copy / "MODEL_CARD.md").write_text("another card")
    assert pack(reseal(copy), tmp_path / "other.zip").read_bytes() != packed.read_bytes()


@pytest.mark.parametrize("name", ["", "model"])
def test_pack_default_name_is_that_of_the_run(
    name: str, copy_of_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pack(copy_of_trained / name) == Path("copy.zip")
    with pytest.raises(OutputError, match=r"copy\.zip already exists"):
        pack(copy_of_trained)
    assert pack(copy_of_trained, overwrite=True).is_file()


def test_pack_damaged_bundle_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "model/graph.tflite").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"graph\.tflite was altered"):
        pack(copy_of_trained, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_unpack_replaces_only_a_bundle_and_with_overwrite(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    with pytest.raises(OutputError, match="there already exists"):
        unpack(packed, target)
    (target / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds mine\.txt, which is not part of a bundle"):
        unpack(packed, target, overwrite=True)
    assert (target / "mine.txt").read_text() == "mine"
    unpack(packed, tmp_path / "model")
    before = contents(tmp_path / "model")
    (tmp_path / "model/MODEL_CARD.md").write_text("spoilt")
    unpack(packed, tmp_path / "model", overwrite=True)
    assert contents(tmp_path / "model") == before


def test_unpack_twice_gives_the_same_bundle_unless_it_was_altered(packed: Path, tmp_path: Path) -> None:
    first = unpack(packed, tmp_path / "model")
    before = contents(tmp_path / "model")
    assert unpack(packed, tmp_path / "model").digest == first.digest
    assert contents(tmp_path / "model") == before
    # Another zip file with the same manifest is not the same bundle.
    other = tmp_path / "other.zip"
    other.write_bytes(zip_of(members_of(packed) | {"MODEL_CARD.md": b"spoilt"}))
    with pytest.raises(OutputError, match="model already exists"):
        unpack(other, tmp_path / "model")
    (tmp_path / "model/MODEL_CARD.md").write_text("spoilt")
    with pytest.raises(OutputError, match="model already exists"):
        unpack(packed, tmp_path / "model")
    manifest = tmp_path / "model/bundle.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(OutputError, match="model already exists"):
        unpack(packed, tmp_path / "model")


def again(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(zip_of(change(members_of(path)))) and None


def linked(path: Path) -> None:
    members = members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777 if name == "training_images.npz" else 0o644) << 16
            archive.writestr(info, b"/etc/passwd" if name == "training_images.npz" else data)


def bombed(path: Path) -> None:
    members = members_of(path)
    path.write_bytes(zip_of({**members, "x": bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED))


def spoilt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    return lambda path: with_json(path, "bundle.json", change)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "up": (again(lambda members: {**members, "../x": b"x"}), r"'\.\./x' is not a safe path"),
    "absolute": (again(lambda members: {**members, "/tmp/x": b"x"}), "is not a safe path"),
    "folder": (
        again(lambda members: {f"model/{name}": data for name, data in members.items()}),
        "is not expected there",
    ),
    "more": (again(lambda members: {**members, "x": b"x"}), r"first\.zip: x is not listed in bundle\.json"),
    "fewer": (
        again(lambda members: {name: data for name, data in members.items() if name != "training_images.npz"}),
        r"first\.zip: training_images\.npz is missing",
    ),
    "no manifest": (again(lambda members: {"x": b"x"}), r"has no bundle\.json"),
    "link": (linked, "'training_images.npz' is a link"),
    "bomb": (bombed, "'x' would expand from .* to 50,000,000 bytes"),
    "byte": (spoilt, "could not be unpacked: Bad CRC-32"),
    "another file": (again(lambda members: {**members, "graph.tflite": b"x"}), r"graph\.tflite was altered"),
    "another word": (manifest(lambda data: data.update(image_size=64)), r"first\.zip: bundle\.json was altered"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]) and None, "it is truncated"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_unpack_hostile_file_is_refused_and_leaves_nothing(name: str, packed: Path, tmp_path: Path) -> None:
    make, reason = HOSTILE[name]
    make(packed)
    with pytest.raises(ModelError, match=reason) as caught:
        unpack(packed, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["first.zip"]
    assert ".out." not in str(caught.value)


@pytest.mark.parametrize("name", ["byte", "cut", "no manifest"])
def test_unpack_damaged_file_suggests_to_copy_it_again(name: str, packed: Path, tmp_path: Path) -> None:
    HOSTILE[name][0](packed)
    with pytest.raises(ModelError) as error:
        unpack(packed, tmp_path / "out")
    assert "sha256sum" in str(error.value.hint)


def test_unpack_refuses_what_loading_refuses(trained: Path, tmp_path: Path) -> None:
    bundle = copied(trained, tmp_path / "bundle")
    with_json(
        bundle / "backbone.keras", "config.json", lambda config: config["config"]["layers"][1].update(module="os")
    )
    reseal(bundle)
    with pytest.raises(ModelError, match=r"uses os\.Cast"):
        unpack(pack(bundle, tmp_path / "x.zip"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_accepts_a_compressed_zip(trained: Path, tmp_path: Path) -> None:
    members = contents(trained / "model")
    (tmp_path / "x.zip").write_bytes(zip_of(members, compression=zipfile.ZIP_DEFLATED))
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == members


def test_manifest_has_one_text_form(trained: Path) -> None:
    bundle, directory = ModelBundle.read(trained)
    assert manifest_text(bundle.model_dump(mode="json")) == (directory / "bundle.json").read_text()


def test_unpacked_without_room_names_the_folder_for_temporary_files(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(OutputError, match=r"The folder for temporary files, .*tmp, is full") as info:
        unpacked(packed)
    assert "export TMPDIR=DIR" in str(info.value.hint)
