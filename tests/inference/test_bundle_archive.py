from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile_files import copied, members_of, reseal, with_json, zip_of
from transfer_cli.bundle.bundle import ModelBundle, written_as
from transfer_cli.errors import ModelError, OutputError
from transfer_cli.inference.bundle_archive import pack, unpack


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def packed(trained: Path, tmp_path: Path) -> Path:
    return pack(trained, tmp_path / "first.zip")


@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_there_and_back(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    bundle = unpack(pack(run, tmp_path / "x.zip"), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(run / "model")
    assert bundle == ModelBundle.read(run)[0] == ModelBundle.read(tmp_path / "again")[0]


def test_the_same_bundle_gives_the_same_bytes(trained: Path, packed: Path, tmp_path: Path) -> None:
    copy = copied(trained, tmp_path / "copy")
    for number, path in enumerate(sorted(copy.iterdir(), reverse=True)):
        os.utime(path, (number, number))
        path.chmod(0o600)
    # What lies beside the files of a bundle stays where it is.
    (copy / "notes.txt").write_text("mine")
    assert pack(copy, tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    assert list(members_of(packed)) == ["bundle.json", *sorted(set(contents(trained / "model")) - {"bundle.json"})]
    # The twin: another bundle gives others.
    (copy / "MODEL_CARD.md").write_text("another card")
    assert pack(reseal(copy), tmp_path / "other.zip").read_bytes() != packed.read_bytes()


@pytest.mark.parametrize("name", ["", "model"])
def test_it_is_called_by_the_run(
    name: str, copy_of_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pack(copy_of_trained / name) == Path("copy.zip")
    with pytest.raises(OutputError, match=r"copy\.zip is there already"):
        pack(copy_of_trained)
    assert pack(copy_of_trained, overwrite=True).is_file()


def test_a_damaged_bundle_is_not_packed(copy_of_trained: Path, tmp_path: Path) -> None:
    (copy_of_trained / "model/graph.tflite").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"graph\.tflite was altered"):
        pack(copy_of_trained, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_is_there_stays_unless_asked(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    with pytest.raises(OutputError, match="there is there already"):
        unpack(packed, target)
    (target / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds mine\.txt, which is not of a bundle"):
        unpack(packed, target, overwrite=True)
    assert (target / "mine.txt").read_text() == "mine"
    unpack(packed, tmp_path / "model")
    before = contents(tmp_path / "model")
    (tmp_path / "model/MODEL_CARD.md").write_text("spoilt")
    unpack(packed, tmp_path / "model", overwrite=True)
    assert contents(tmp_path / "model") == before


def again(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(zip_of(change(members_of(path)))) and None


def linked(path: Path) -> None:
    members = members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777 if name == "learnt.npz" else 0o644) << 16
            archive.writestr(info, b"/etc/passwd" if name == "learnt.npz" else data)


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
    "up": (again(lambda members: {**members, "../x": b"x"}), r"'\.\./x' is a name that leads elsewhere"),
    "absolute": (again(lambda members: {**members, "/tmp/x": b"x"}), "leads elsewhere"),
    "folder": (again(lambda members: {f"model/{name}": data for name, data in members.items()}), "does not belong"),
    "more": (again(lambda members: {**members, "x": b"x"}), r"first\.zip: x is not named by bundle\.json"),
    "fewer": (
        again(lambda members: {name: data for name, data in members.items() if name != "learnt.npz"}),
        r"first\.zip: learnt\.npz is missing",
    ),
    "no manifest": (again(lambda members: {"x": b"x"}), r"has no bundle\.json"),
    "link": (linked, "'learnt.npz' is a link"),
    "bomb": (bombed, "'x' has .* bytes and would become 50,000,000"),
    "byte": (spoilt, "could not be unpacked: Bad CRC-32"),
    "another file": (again(lambda members: {**members, "graph.tflite": b"x"}), r"graph\.tflite was altered"),
    "another word": (manifest(lambda data: data.update(image_size=64)), r"first\.zip: bundle\.json was altered"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]) and None, "it was cut off"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_is_left(name: str, packed: Path, tmp_path: Path) -> None:
    make, reason = HOSTILE[name]
    make(packed)
    with pytest.raises(ModelError, match=reason) as caught:
        unpack(packed, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["first.zip"]
    assert ".out." not in str(caught.value)


@pytest.mark.parametrize("name", ["byte", "cut", "no manifest"])
def test_what_was_damaged_on_the_way_is_to_be_copied_again(name: str, packed: Path, tmp_path: Path) -> None:
    HOSTILE[name][0](packed)
    with pytest.raises(ModelError) as error:
        unpack(packed, tmp_path / "out")
    assert "sha256sum" in str(error.value.hint)


def test_what_loading_would_refuse_is_not_unpacked(trained: Path, tmp_path: Path) -> None:
    bundle = copied(trained, tmp_path / "bundle")
    with_json(
        bundle / "backbone.keras", "config.json", lambda config: config["config"]["layers"][1].update(module="os")
    )
    reseal(bundle)
    with pytest.raises(ModelError, match=r"names os\.Cast"):
        unpack(pack(bundle, tmp_path / "x.zip"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_person_may_pack_it_otherwise(trained: Path, tmp_path: Path) -> None:
    members = contents(trained / "model")
    (tmp_path / "x.zip").write_bytes(zip_of(members, compression=zipfile.ZIP_DEFLATED))
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == members


def test_the_manifest_is_written_in_one_way(trained: Path) -> None:
    bundle, directory = ModelBundle.read(trained)
    assert written_as(bundle.model_dump(mode="json")) == (directory / "bundle.json").read_text()
