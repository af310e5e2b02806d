"""The message about weights that are not here: in plain words, with a size, and with ways that do not contradict it."""

from __future__ import annotations

import pytest

from tests.weights_files import NARROW, TINY, in_cache
from transfer_cli.catalog import backbones
from transfer_cli.catalog.backbones import CLASS_INDEX, find
from transfer_cli.errors import WeightsError
from transfer_cli.models.weights.missing_weights import OFFLINE
from transfer_cli.models.weights.registry import (
    cache_folder,
    feature_files,
    files_of,
    imagenet_files,
    missing_error,
    require_available,
    unavailable_error,
)

_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2"
_V2 = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def error_of(name: str, size: int | None = None, *, top: bool = False, reason: str | None = OFFLINE) -> WeightsError:
    spec = find(name)
    size_of = size or spec.size
    files = imagenet_files(spec, top=True, size=size_of) if top else feature_files(spec, None, size=size_of)
    return unavailable_error(files, reason, size=size)


def test_whole_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSFER_CLI_OFFLINE", raising=False)
    error = error_of("mobilenet_v2")
    assert str(error) == (
        "mobilenet_v2 needs a one-time download of 9 MB (its ImageNet weights), but --offline was given."
    )
    assert (error.hint or "").splitlines() == [
        "1. With internet, leave out --offline, and run: transfer-cli weights fetch mobilenet_v2",
        "2. Without: on a machine with an internet connection, transfer-cli weights pack mobilenet_v2 -o weights.tar",
        "   and on this one, transfer-cli weights install weights.tar",
        "3. Now, without a download: --backbone embedded (a small network, less accurate)",
        f"Expected: {cache_folder() / _V2} (from {_URL}/{_V2})",
    ]


def test_offline_by_the_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_CLI_OFFLINE", "1")
    error = error_of("mobilenet_v2")
    assert str(error).endswith("but --offline was given (TRANSFER_CLI_OFFLINE is set).")
    assert "With internet, unset TRANSFER_CLI_OFFLINE, and run: transfer-cli weights fetch" in str(error.hint)


def test_size_and_name_of_every_row() -> None:
    for name in backbones.names():
        spec = find(name)
        if not spec.has_imagenet:
            continue
        for top, count in ((False, spec.parameters_below_top), (True, spec.parameters)):
            first = str(error_of(name, top=top))
            # The class names are 35 kB.
            said = (4 * count + (35_363 if top else 0)) / 1e6
            size = f"{said / 1000:.1f} GB" if said >= 950 else f"{said:.0f} MB" if said >= 1 else f"{said:.1f} MB"
            assert first.startswith(f"{name} needs a one-time download of {size} (its ImageNet weights")


def test_weights_for_another_size_are_named_with_what_to_type() -> None:
    in_cache(TINY, NARROW)
    error = error_of("mobilenet@0.25", 160)
    assert str(error) == (
        "mobilenet@0.25 needs a one-time download of 0.9 MB (its ImageNet weights for size 160), but --offline was "
        "given. The weights that are here are for size 224."
    )
    # mobilenet_v2@0.35 is here for size 224 only, and does not fit.
    assert (error.hint or "").splitlines()[3] == (
        "3. Now, without a download: --set images.size=224; or --backbone embedded (a small network, less accurate)"
    )
    assert "weights fetch mobilenet@0.25 --size 160\n" in str(error.hint)


def test_networks_that_are_here_are_named_if_they_fit_the_size() -> None:
    in_cache(TINY, NARROW)
    here = "; or --backbone NAME of a network whose weights are here: mobilenet@0.25, mobilenet_v2@0.35"
    assert here in str(error_of("resnet50").hint)
    assert "mobilenet" not in str(error_of("resnet50", 160).hint)
    # For sizes without weights of their own, those for 224 are used.
    assert here in str(error_of("resnet50", 200).hint)


def test_imagenet_classes_name_networks_that_have_them() -> None:
    in_cache("mobilenet_2_5_224_tf.h5")
    error = error_of("vgg16", top=True)
    assert "553 MB (its ImageNet weights with the classification layers and names of the 1000" in str(error)
    assert "weights fetch vgg16 --top (612 MB, with the weights for training)\n" in str(error.hint)
    assert "3. Now, with classes of your own: transfer-cli extract FOLDER --backbone embedded\n" in str(error.hint)
    (cache_folder() / CLASS_INDEX.name).touch()
    assert "imagenet:NAME of mobilenet@0.25\n" in str(error_of("vgg16", top=True).hint)


def test_only_the_class_names_are_missing() -> None:
    in_cache("mobilenet_2_5_224_tf.h5")
    error = error_of("mobilenet@0.25", top=True)
    assert "needs a one-time download of 35 kB (its names of the 1000 ImageNet classes)" in str(error)
    assert "weights fetch mobilenet@0.25 --top" in str(error.hint)


def test_several_networks() -> None:
    files = [file for name in ("resnet50", "vgg16") for file in files_of(find(name), top=False)]
    error = missing_error(files)
    assert str(error) == "resnet50 and vgg16 need a one-time download of 153 MB (their ImageNet weights)."
    assert "weights fetch resnet50 vgg16\n" in str(error.hint)


def test_require_available_planted_fault() -> None:
    (file,) = feature_files(find("mobilenet@0.25"), None, size=224)
    with pytest.raises(WeightsError, match=r"mobilenet@0\.25 needs a one-time download of 0\.9 MB"):
        require_available([file], offline=True)
    in_cache(TINY)
    assert require_available([file], offline=True) == []
