"""``--weights FILE``: files of other networks and of other programs are answered in one line."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from tests.weights_files import NARROW, TINY, save_weights
from transfer_cli.catalog.backbones import find
from transfer_cli.errors import WeightsError
from transfer_cli.models.weights.own_weights import OwnWeights, check_weights

TINY_SPEC = find("mobilenet@0.25")


def archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"\x80\x02.")


def write_safetensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


OTHER: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("my weights\n"), "is a text file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "json": (lambda path: path.write_text('{"a": 1}'), "is a JSON file"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><p>Sign in"), "is a web page"),
    "pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
    "pt": (lambda path: archive(path, "archive/data.pkl"), "is a PyTorch file (.pt, .pth), which is not opened"),
    "pth": (lambda path: path.write_bytes(pickle.dumps({}, 2)), "is a pickle, such as PyTorch writes"),
    "npz": (lambda path: archive(path, "kernel.npy"), "is a file of NumPy arrays"),
    "zip": (lambda path: archive(path, "a.jpg"), "is a zip archive"),
    "safetensors": (write_safetensors, "is a safetensors file"),
    "tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(9)), "is a LiteRT (TensorFlow Lite) model"),
    "kit": (lambda path: path.write_bytes(b"kit.json" + bytes(504)), "transfer-cli weights install FILE"),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe\xfd\xfc" * 99), "is not a file of a format that is known"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_file_of_another_kind_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    OTHER[kind][0](path)
    with pytest.raises(WeightsError) as caught:
        check_weights(str(path), TINY_SPEC)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path} is ")
    assert OTHER[kind][1] in line
    assert line.endswith(". Expected weights that Keras saved (.weights.h5 or .h5) of mobilenet@0.25.")
    assert caught.value.hint == "To start from ImageNet weights, leave out --weights."


def test_cut_file_is_damaged(tmp_path: Path) -> None:
    whole = save_weights(tmp_path / TINY).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"cut\.h5 is damaged or cut short"):
        check_weights(str(tmp_path / "cut.h5"), TINY_SPEC)


def test_file_of_another_network_is_named_before_keras_starts(tmp_path: Path) -> None:
    path = save_weights(tmp_path / NARROW)
    with pytest.raises(WeightsError) as caught:
        check_weights(str(path), TINY_SPEC)
    assert str(caught.value) == (
        f"The weights in {path} do not fit mobilenet@0.25: they seem to be those of mobilenet_v2@0.35 (410,208 "
        "numbers; mobilenet@0.25 has 218,544 without its classification layers)."
    )
    assert str(caught.value.hint).splitlines()[0] == (
        f"To use that network: --backbone mobilenet_v2@0.35 --weights {path}"
    )
    check_weights(str(path), find("mobilenet_v2@0.35"))


@pytest.mark.parametrize(
    ("numbers", "network"),
    [
        (218_544, "mobilenet@0.25"),
        (218_544 + 7 * 257, "mobilenet@0.25"),
        (1_342_536, "mobilenet@0.5"),
        (14_714_688, "vgg16"),
        (12_345, None),
    ],
)
def test_network_is_recognised_by_its_parameters(numbers: int, network: str | None, tmp_path: Path) -> None:
    path = save_weights(tmp_path / "mine.h5", numbers)
    assert OwnWeights.read(path, find("resnet50")).network == network


def test_names_of_weights_and_missing_files() -> None:
    for name in ("imagenet", "embedded", "none"):
        check_weights(name, TINY_SPEC)
    with pytest.raises(WeightsError, match=r"There is no weights file or run nosuch\.h5"):
        check_weights("nosuch.h5", TINY_SPEC)


def test_command_answers_in_one_line(colours: Path, tmp_path: Path, transfer_cli: Callable[..., Outcome]) -> None:
    path = save_weights(tmp_path / NARROW)
    done = transfer_cli("extract", colours, "--backbone", "mobilenet@0.25", "--weights", path)
    assert done.code == 4
    assert done.err.count("\n") == 3
    assert "they seem to be those of mobilenet_v2@0.35" in done.err
    assert "starting TensorFlow" not in done.err


@pytest.mark.integration
def test_keras_files_of_any_name_are_loaded_and_misfits_give_one_error(tmp_path: Path) -> None:
    import keras
    import numpy as np

    from transfer_cli.models.backbone import build

    made = keras.applications.MobileNet(weights=None, include_top=False, alpha=0.25, input_shape=(32, 32, 3))
    made.save_weights(tmp_path / "mine.weights.h5")
    (tmp_path / "renamed.h5").write_bytes((tmp_path / "mine.weights.h5").read_bytes())
    made.save(tmp_path / "mine.keras")
    for name in ("mine.weights.h5", "renamed.h5", "mine.keras"):
        network = build(TINY_SPEC, weights=str(tmp_path / name), size=32)
        np.testing.assert_array_equal(network.get_weights()[0], made.get_weights()[0])
    # As many numbers in other layers.
    kernel = keras.layers.Dense(218_544, use_bias=False)
    keras.Sequential([keras.Input((1,)), kernel]).save_weights(tmp_path / "other.weights.h5")
    with warnings.catch_warnings(action="error"), pytest.raises(WeightsError, match="their layers have other shapes"):
        build(TINY_SPEC, weights=str(tmp_path / "other.weights.h5"), size=32)
