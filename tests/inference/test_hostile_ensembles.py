"""Hostile ensembles: anything that does not match the manifests is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile_files import copied, members_of, reseal, zip_of
from transfer_cli.bundle.bundle import ENSEMBLE, MAX_DEPTH, EnsembleMember, ModelBundle
from transfer_cli.bundle.files import MANIFEST
from transfer_cli.calibration.rejection import REJECTION_FILE
from transfer_cli.errors import ModelError
from transfer_cli.inference.bundle_archive import pack, unpack
from transfer_cli.inference.load import load
from transfer_cli.inference.reject import Rejector
from transfer_cli.inference.verify_bundle import bundle_files, unlisted_files, verify
from transfer_cli.io.digests import digest_of_file

pytestmark = pytest.mark.integration

Join = Callable[..., Path]
ONE, TWO = "member-01", "member-02"


@pytest.fixture
def bundle(join: Join, tmp_path: Path) -> Path:
    """Return a copy of an ensemble of two members, for a test to change."""
    return copied(join("average", "plain", "linear"), tmp_path / "bundle")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flipped(bundle: Path) -> None:
    path = bundle / ONE / "linear.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swapped(bundle: Path) -> None:
    for one, other in ((ONE, "x"), (TWO, ONE), ("x", TWO)):
        (bundle / one).rename(bundle / other)


def linked(bundle: Path) -> None:
    (bundle / ONE).rename(bundle.parent / "elsewhere")
    (bundle / ONE).symlink_to(bundle.parent / "elsewhere")


def linked_file(bundle: Path) -> None:
    path = bundle / TWO / "linear.npz"
    path.rename(bundle.parent / "linear.npz")
    path.symlink_to(bundle.parent / "linear.npz")


def gone(bundle: Path) -> None:
    shutil.rmtree(bundle / TWO)


def resealed_member(bundle: Path) -> None:
    """Change a member and its own digests, but not the digest of the member in the ensemble."""
    (bundle / ONE / "MODEL_CARD.md").write_text("another")
    reseal(bundle / ONE)


def names_outside(bundle: Path) -> None:
    reseal(bundle, files={"../x": {"bytes": 0, "sha256": "0" * 64}})


def names_a_members_file(bundle: Path) -> None:
    files = ModelBundle.open(bundle).bundle.model_dump(mode="json")["files"]
    reseal(bundle, files={**files, f"{ONE}/linear.npz": {"bytes": 0, "sha256": "0" * 64}})


def other_classes(bundle: Path) -> None:
    reseal(bundle / ONE, class_names=["blue", "green", "yellow"])
    follow(bundle)


def without_members(bundle: Path) -> None:
    reseal(bundle, members=[])


def members_of_no_ensemble(bundle: Path) -> None:
    reseal(bundle / ONE, members=ModelBundle.open(bundle).bundle.model_dump(mode="json")["members"])
    follow(bundle)


def too_many(bundle: Path) -> None:
    member = ModelBundle.open(bundle).bundle.members[0].model_dump(mode="json")
    reseal(bundle, members=[member] * 101)


def unknown_combination(bundle: Path) -> None:
    reseal(bundle, combination="os.system")


def without_weights(bundle: Path) -> None:
    members = ModelBundle.open(bundle).bundle.model_dump(mode="json")["members"]
    reseal(bundle, members=[{**member, "weight": 0.0} for member in members])


def stack_without_a_matrix(bundle: Path) -> None:
    reseal(bundle, combination="stack")


def pickled(bundle: Path) -> None:
    """Plant a hostile file in a member, with correct digests on all levels."""
    (bundle / ONE / "classifier.skops").write_bytes(zip_of({"schema.json": b'{"__class__": "system"}'}))
    reseal(bundle / ONE)
    follow(bundle)


def follow(bundle: Path) -> None:
    """Update the digests of an ensemble's members."""
    import json

    data = json.loads((bundle / MANIFEST).read_text())
    for number, member in enumerate(data["members"], start=1):
        member["digest"] = json.loads((bundle / f"member-{number:02}" / MANIFEST).read_text())["digest"]
    reseal(bundle, members=data["members"])


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "altered byte": (flipped, r"member-01/linear\.npz was altered"),
    "swapped members": (swapped, "member-01 is not the model that"),
    "linked member": (linked, "member-01 is missing"),
    "linked file": (linked_file, r"member-02/linear\.npz is missing"),
    "missing member": (gone, "member-02 is missing"),
    "another member": (resealed_member, "member-01 is not the model that"),
    "a file outside": (names_outside, r"names a file outside its folder: '\.\./x'"),
    "a file of a member": (names_a_members_file, "names a file outside its folder: 'member-01/linear"),
    "other classes": (other_classes, "member-01 does not have the classes of its ensemble"),
    "no members": (without_members, "an ensemble must have members and a combination"),
    "members of none": (members_of_no_ensemble, "an ensemble must have members and a combination"),
    "too many members": (too_many, "members"),
    "unknown combination": (unknown_combination, "os.system"),
    "no weights": (without_weights, "all members have the weight 0"),
    "a stack without its matrix": (stack_without_a_matrix, r"gives no digest of linear\.npz"),
    "a pickle in a member": (pickled, r"classifier\.skops"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_verify_hostile_ensemble_is_refused(name: str, bundle: Path) -> None:
    spoil, message = HOSTILE[name]
    spoil(bundle)
    with pytest.raises(ModelError, match=message) as caught:
        verify(bundle)
    assert caught.value.exit_code == 4


def test_verify_unaltered_ensemble_passes(bundle: Path) -> None:
    """Control for the hostile ones; other files in the folders are reported."""
    (bundle / ONE / "notes.txt").write_text("mine")
    found = verify(bundle)
    assert unlisted_files(found.opened) == (f"{ONE}/notes.txt",)
    assert f"{TWO}/linear.npz" in bundle_files(found.opened)
    assert found.computed_by == ("2 members",)
    follow(bundle)
    assert verify(bundle).opened.bundle == found.opened.bundle


def test_rejection_requires_a_member_with_frozen_backbone(join: Join, tmp_path: Path) -> None:
    original = copied(join("average", "plain", "linear"), tmp_path / "original")
    assert verify(original).opened.bundle.files[REJECTION_FILE]
    bundle = nested(original, tmp_path / "bundle")
    assert REJECTION_FILE not in verify(bundle).opened.bundle.files
    with pytest.raises(ModelError, match="requires a member with a frozen backbone") as caught:
        Rejector(load(str(bundle)), coverage=0.9)
    assert caught.value.hint == "Use a threshold on the confidence alone: --threshold 0.5"
    # Members that are ensembles have no features.
    shutil.copyfile(original / REJECTION_FILE, bundle / REJECTION_FILE)
    reseal(bundle, files={REJECTION_FILE: digest_of_file(bundle / REJECTION_FILE).model_dump()})
    with pytest.raises(ModelError, match=r"rejection\.npz, but no member has a frozen backbone") as caught:
        verify(bundle)
    assert caught.value.exit_code == 4


def nested(bundle: Path, target: Path) -> Path:
    """Return an ensemble whose two members are the same bundle."""
    inner = ModelBundle.open(bundle)

    def save(directory: Path) -> None:
        for name in (ONE, TWO):
            inner.copy_to(directory / name)

    made = inner.bundle if inner.members else ModelBundle.open(bundle.parent).bundle
    members = tuple(EnsembleMember(name=name, digest=inner.bundle.digest, weight=0.5) for name in (ONE, TWO))
    made.model_copy(update={"kind": ENSEMBLE, "members": members, "files": {}}).write(target, save)
    return target


def test_open_ensembles_nested_too_deeply_are_refused(bundle: Path, tmp_path: Path) -> None:
    twice = nested(bundle, tmp_path / "twice")
    assert len([*ModelBundle.open(twice).leaves()]) == 4
    again = unpack(pack(twice, tmp_path / "twice.zip"), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(twice)
    assert again == ModelBundle.read(twice)[0]
    thrice = nested(twice, tmp_path / "thrice")
    with pytest.raises(ModelError, match=f"deeper than {MAX_DEPTH} levels"):
        ModelBundle.open(thrice)


def test_unpack_restores_the_packed_ensemble(bundle: Path, tmp_path: Path) -> None:
    packed = pack(bundle, tmp_path / "x.zip")
    assert next(iter(members_of(packed))) == MANIFEST
    unpack(packed, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(bundle)
    os.utime(bundle / ONE / MANIFEST, (1, 1))
    assert pack(bundle, tmp_path / "y.zip").read_bytes() == packed.read_bytes()


ENTRIES = {
    "a folder that is no member's": ("other/linear.npz", "is not expected there"),
    "a member that is not named": ("member-03/linear.npz", r"member-03/linear\.npz is not listed"),
    "a stranger in a member": ("member-01/x.txt", r"member-01/x\.txt is not listed"),
    "too deep": ("member-01/member-01/member-01/x", "is not expected there"),
    "up from a member": ("member-01/../../x", "is not a safe path"),
    "a folder within a member": ("member-01/x/linear.npz", "is not expected there"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_unpack_unexpected_entry_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    entry, message = ENTRIES[name]
    packed = pack(bundle, tmp_path / "x.zip")
    packed.write_bytes(zip_of({**members_of(packed), entry: b"x"}))
    with pytest.raises(ModelError, match=message):
        unpack(packed, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "x.zip"]


def test_unpack_missing_file_of_a_member_is_refused(bundle: Path, tmp_path: Path) -> None:
    packed = pack(bundle, tmp_path / "x.zip")
    kept = {name: data for name, data in members_of(packed).items() if name != f"{TWO}/linear.npz"}
    packed.write_bytes(zip_of(kept))
    with pytest.raises(ModelError, match=r"x\.zip: member-02/linear\.npz is missing"):
        unpack(packed, tmp_path / "out")
