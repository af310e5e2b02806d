from __future__ import annotations

import json
from pathlib import Path

import pytest

from transfer_cli.bundle import ModelBundle, _digest
from transfer_cli.engine.images import DECODER
from transfer_cli.engine.model import load
from transfer_cli.errors import ModelError


def rewrite(run: Path, **changes: object) -> None:
    """Change the manifest and give it the digest that fits."""
    path = run / "model/bundle.json"
    data = json.loads(path.read_text()) | changes
    data["digest"] = _digest(data)
    path.write_text(json.dumps(data))


def test_what_a_bundle_says(trained: Path) -> None:
    bundle, directory = ModelBundle.read(trained)
    assert directory == trained / "model"
    assert (bundle.kind, bundle.task, bundle.class_names) == ("features", "single-label", ("blue", "green", "red"))
    assert (bundle.image_size, bundle.resize, bundle.decoder) == (32, "squash", DECODER)
    assert bundle.backbone == {"name": "mobilenet@0.25", "weights": "none", "pooling": "avg", "width": 256}
    files = ["MODEL_CARD.md", "backbone.keras", "classifier.skops", "graph.tflite"]
    files += ["learnt.npz", "linear.npz", "rejection.npz"]
    assert sorted(bundle.files) == files
    assert bundle.versions["keras"]
    assert bundle.recipe["classifier"]["name"] == "logistic"
    assert ModelBundle.read(directory)[0] == bundle


@pytest.mark.parametrize("name", ["backbone.keras", "classifier.skops", "graph.tflite", "linear.npz"])
def test_an_altered_file_is_refused(copy_of_trained: Path, name: str) -> None:
    path = copy_of_trained / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=f"{name} was altered"):
        load(str(copy_of_trained))


def test_a_missing_file(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/classifier.skops").unlink()
    with pytest.raises(ModelError, match=r"classifier\.skops is missing"):
        load(str(copy_of_trained))


def test_a_link_in_place_of_a_file_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    path = copy_of_trained / "model/classifier.skops"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"classifier\.skops is missing"):
        load(str(copy_of_trained))


def test_every_byte_of_the_manifest_counts(copy_of_trained: Path) -> None:
    path = copy_of_trained / "model/bundle.json"
    good = path.read_bytes()
    for position in range(0, len(good), 37):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(ModelError):
            ModelBundle.read(copy_of_trained)


def test_a_newer_version_is_refused(copy_of_trained: Path) -> None:
    rewrite(copy_of_trained, format_version=5)
    with pytest.raises(ModelError, match="format version 5; this program knows 4 at most") as caught:
        load(str(copy_of_trained))
    assert caught.value.hint == "Install a newer transfer-cli."


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "", ".."])
def test_a_name_that_leaves_the_folder_is_refused(copy_of_trained: Path, name: str) -> None:
    files = json.loads((copy_of_trained / "model/bundle.json").read_text())["files"]
    rewrite(copy_of_trained, files={name: {"bytes": 1, "sha256": "0"}, **files})
    with pytest.raises(ModelError, match="names a file outside its folder"):
        load(str(copy_of_trained))


def test_a_manifest_without_digests_is_refused(copy_of_trained: Path) -> None:
    rewrite(copy_of_trained, files={})
    with pytest.raises(ModelError, match=r"gives no digest of backbone\.keras, classifier\.skops"):
        load(str(copy_of_trained))


def test_an_unknown_runtime_is_refused(copy_of_trained: Path) -> None:
    recipe = json.loads((copy_of_trained / "model/bundle.json").read_text())["recipe"]
    rewrite(copy_of_trained, recipe={**recipe, "inference": {"runtime": "abacus"}})
    with pytest.raises(ModelError, match="a runtime that this program does not know"):
        load(str(copy_of_trained))


def test_an_unknown_word_is_refused(copy_of_trained: Path) -> None:
    rewrite(copy_of_trained, hook="os.system")
    with pytest.raises(ModelError, match="is not a bundle's manifest"):
        load(str(copy_of_trained))


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no run and no bundle at"):
        load(str(tmp_path / "missing"))
    with pytest.raises(ModelError, match="is neither a run nor a bundle"):
        load(str(tmp_path))
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(ModelError, match="is a run without a model"):
        load(str(tmp_path))
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        load(str(tmp_path))
