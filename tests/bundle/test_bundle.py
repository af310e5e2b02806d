from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.hostile_files import copied, reseal
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.data.decoding import DECODER
from transfer_cli.errors import ModelError
from transfer_cli.inference.load import load


def test_read_returns_the_settings_and_files_of_a_run(trained: Path) -> None:
    bundle, directory = ModelBundle.read(trained)
    assert directory == trained / "model"
    assert (bundle.kind, bundle.task, bundle.class_names) == ("features", "single-label", ("blue", "green", "red"))
    assert (bundle.image_size, bundle.resize, bundle.decoder) == (32, "squash", DECODER)
    assert bundle.backbone == {"name": "mobilenet@0.25", "weights": "none", "pooling": "levels", "width": 496}
    files = ["MODEL_CARD.md", "backbone.keras", "classifier.skops", "graph.tflite"]
    files += ["linear.npz", "rejection.npz", "training_images.npz"]
    assert sorted(bundle.files) == files
    assert bundle.versions["keras"]
    assert bundle.recipe["classifier"]["name"] == "lda"
    assert ModelBundle.read(directory)[0] == bundle


@pytest.mark.parametrize("name", ["backbone.keras", "classifier.skops", "graph.tflite", "linear.npz"])
def test_load_altered_file_is_refused(copy_of_trained: Path, name: str) -> None:
    path = copy_of_trained / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=f"{name} was altered"):
        load(str(copy_of_trained))


def test_load_missing_file_is_refused(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/classifier.skops").unlink()
    with pytest.raises(ModelError, match=r"classifier\.skops is missing"):
        load(str(copy_of_trained))


def test_load_link_instead_of_file_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    path = copy_of_trained / "model/classifier.skops"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"classifier\.skops is missing"):
        load(str(copy_of_trained))


def test_load_manifest_that_is_a_link_is_refused(copy_of_trained: Path, tmp_path: Path) -> None:
    path = copy_of_trained / "model/bundle.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="it is a link"):
        load(str(copy_of_trained))


def test_load_folder_instead_of_file_is_refused(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/training_images.npz").unlink()
    (copy_of_trained / "model/training_images.npz").mkdir()
    with pytest.raises(ModelError, match=r"training_images\.npz is missing"):
        load(str(copy_of_trained))


def test_read_any_changed_byte_of_the_manifest_is_refused(copy_of_trained: Path) -> None:
    path = copy_of_trained / "model/bundle.json"
    good = path.read_bytes()
    for position in range(0, len(good), 37):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(ModelError):
            ModelBundle.read(copy_of_trained)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["trained", "finetuned"])
def test_read_200_changes_of_one_byte_are_refused(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    bundle = copied(request.getfixturevalue(kind), tmp_path / "bundle")
    draw = np.random.default_rng(5)
    files = sorted(bundle.iterdir())
    assert len(files) >= 7
    for number in range(200):
        path = files[number % len(files)]
        good = path.read_bytes()
        place, other = draw.integers(len(good)), draw.integers(1, 256)
        path.write_bytes(good[:place] + bytes([good[place] ^ other]) + good[place + 1 :])
        with pytest.raises(ModelError):
            ModelBundle.read(bundle)
        path.write_bytes(good)
        # Control: the unaltered bundle is accepted.
        assert number % 50 or ModelBundle.read(bundle)


def test_read_changed_white_space_is_refused(copy_of_trained: Path) -> None:
    """Changes that leave the parsed JSON equal."""
    path = copy_of_trained / "model/bundle.json"
    good = path.read_bytes()
    for changed in (good[:-1], good + b" ", good.replace(b"\n", b"\r\n"), good.replace(b'"blue"', b'"b\\u006cue"', 1)):
        assert json.loads(changed) == json.loads(good)
        path.write_bytes(changed)
        with pytest.raises(ModelError, match="was altered: its digest does not match its content"):
            ModelBundle.read(copy_of_trained)


def test_load_changed_file_with_correct_digest_is_accepted(copy_of_trained: Path) -> None:
    """A digest detects damage, not malice: it can be recomputed for a changed file, which then is another model."""
    bundle = copy_of_trained / "model"
    with np.load(bundle / "linear.npz") as arrays:
        given = dict(arrays)
    before = load(str(bundle)).predict_proba(np.full((1, 32, 32, 3), 127, np.uint8))
    np.savez(bundle / "linear.npz", **{**given, "kernel": -given["kernel"], "bias": -given["bias"]})
    with pytest.raises(ModelError, match=r"linear\.npz was altered"):
        load(str(bundle))
    after = load(str(reseal(bundle))).predict_proba(np.full((1, 32, 32, 3), 127, np.uint8))
    assert after.argmax() != before.argmax()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_size": 10**9}, "image_size: Input should be less than or equal to 4096"),
        ({"image_size": -1}, "image_size: Input should be greater"),
        ({"temperature": -1.0}, "temperature: Input should be greater than 0"),
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"temperature": float("nan")}, "NaN is not a JSON number"),
        ({"temperature": float("inf")}, "Infinity is not a JSON number"),
        ({"log_prior": [0.0, 1.0]}, r"expected one log prior per class \(3\)"),
        ({"log_prior": [1e999, 0.0, 0.0]}, "Infinity is not a JSON number"),
        ({"task": "multi-label", "thresholds": [0.5]}, r"expected one threshold per label \(3\)"),
        ({"task": "multi-label", "thresholds": [0.5, 0.5, 7]}, "thresholds.2: Input should be less"),
        ({"class_names": ["a", "b", "a"]}, "there are two classes called 'a'"),
        ({"class_names": []}, "class_names: "),
        ({"resize": "os.system"}, "resize: Input should be 'squash', 'crop' or 'pad'"),
        ({"format_version": True}, "invalid format version, 'True'"),
        ({"format_version": 0}, "invalid format version, '0'"),
        ({"format_version": "6"}, "invalid format version, '6'"),
        ({"format_version": 10**9}, "format version 1000000000; this release reads format version 6"),
        ({"files": {"x" * 20 + str(n): {"bytes": 1, "sha256": "0" * 64} for n in range(101)}}, "files: "),
        ({"members": [0] * 300_000}, "members: it has 300,000, at most 100 are expected"),
        ({"versions": {str(n): 1 for n in range(100_000)}}, "versions: it has 100,000, at most 100 are expected"),
        ({"thresholds": ["x"] * 100_000}, "thresholds: it has an item that is not a number"),
        ({"class_names": [0] * 100_000}, "class_names: it has an item that is not a text"),
        ({"recipe": {"x": [[]] * 1_500_000}}, "values in JSON, at most 2,000,000 are expected"),
        ({"files": {"bundle.json": {"bytes": 1, "sha256": "0" * 64}}}, "has no digest"),
        ({"recipe": {"x": "y" * 17_000_000}}, "Expected 16,000,000 at most"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_read_invalid_manifest_is_refused(changes: dict[str, object], reason: str, copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", **changes)
    with pytest.raises(ModelError, match=reason) as caught:
        ModelBundle.read(copy_of_trained)
    assert len(str(caught.value)) < 1000


def test_read_deeply_nested_or_ambiguous_manifest_is_refused(copy_of_trained: Path) -> None:
    (copy_of_trained / "model/bundle.json").write_bytes(b'{"format_version": 6, "recipe": ' + b"[" * 1_000_000)
    with pytest.raises(ModelError, match="nested too deeply"):
        ModelBundle.read(copy_of_trained)
    (copy_of_trained / "model/bundle.json").write_bytes(b'{"format_version": 6, "format_version": 6}')
    with pytest.raises(ModelError, match="it has the key 'format_version' twice"):
        ModelBundle.read(copy_of_trained)


def test_read_unusual_class_names_are_accepted(copy_of_trained: Path) -> None:
    """Control for the invalid manifests: users may choose any of these values."""
    names = ["\u0000", "\u65e5\u672c", "a/../b"]
    reseal(copy_of_trained / "model", class_names=names, temperature=1e-3, log_prior=[-1e9, 0.0, 1.0])
    assert ModelBundle.read(copy_of_trained)[0].class_names == tuple(names)


def test_load_newer_version_is_refused(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", format_version=7)
    with pytest.raises(ModelError, match="format version 7; this release reads format version 6") as caught:
        load(str(copy_of_trained))
    assert caught.value.hint == "Install a newer release of transfer-cli."


def test_load_older_version_is_refused(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", format_version=5, versions={"transfer-cli": "0.9.0"})
    with pytest.raises(ModelError, match=r"written by an older release \(format version 5\)") as caught:
        load(str(copy_of_trained))
    assert caught.value.hint == "Train the model again, or install transfer-cli 0.9.0 that wrote it."


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "", "..", "a/b", "..\\x", "c:x", "x\0y"])
def test_load_file_name_outside_the_folder_is_refused(copy_of_trained: Path, name: str) -> None:
    files = json.loads((copy_of_trained / "model/bundle.json").read_text())["files"]
    reseal(copy_of_trained / "model", files={name: {"bytes": 1, "sha256": "0" * 64}, **files})
    with pytest.raises(ModelError, match="names a file outside its folder"):
        load(str(copy_of_trained))


def test_load_manifest_without_digests_is_refused(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", files={})
    with pytest.raises(ModelError, match=r"has no digest of backbone\.keras, classifier\.skops"):
        load(str(copy_of_trained))


def test_load_unknown_runtime_is_refused(copy_of_trained: Path) -> None:
    recipe = json.loads((copy_of_trained / "model/bundle.json").read_text())["recipe"]
    reseal(copy_of_trained / "model", recipe={**recipe, "inference": {"runtime": "abacus"}})
    with pytest.raises(ModelError, match="a runtime that this release does not support"):
        load(str(copy_of_trained))


def test_load_unknown_key_is_refused(copy_of_trained: Path) -> None:
    reseal(copy_of_trained / "model", hook="os.system")
    with pytest.raises(ModelError, match="is not a valid manifest of a bundle"):
        load(str(copy_of_trained))


def test_load_path_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no run or bundle at"):
        load(str(tmp_path / "missing"))
    with pytest.raises(ModelError, match="is neither a run nor a bundle"):
        load(str(tmp_path))
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(ModelError, match=r"The run .* has no model: training did not finish"):
        load(str(tmp_path))
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        load(str(tmp_path))
