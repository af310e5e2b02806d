"""Every digest is compared with the source of the installed keras.applications, row by row."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator

import pytest

from transfer_cli.catalog.backbones import CLASS_INDEX
from transfer_cli.catalog.weight_digests import DIGESTS
from transfer_cli.models.weights.registry import weight_uses

TABLES = {
    "convnext": ("{}.h5", "{}_notop.h5"),
    "efficientnet": ("efficientnet{}.h5", "efficientnet{}_notop.h5"),
    "efficientnet_v2": ("efficientnetv2-{}.h5", "efficientnetv2-{}_notop.h5"),
    "mobilenet_v3": ("weights_mobilenet_v3_{}.h5", "weights_mobilenet_v3_{}_no_top_v2.h5"),
    "resnet": ("{}_weights_tf_dim_ordering_tf_kernels.h5", "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"),
}
"""Modules with a table of digests, and the file names that belong to its keys."""
CALLS = ("densenet", "imagenet_utils", "inception_resnet_v2", "inception_v3", "nasnet", "vgg16", "vgg19", "xception")
WITHOUT = ("mobilenet", "mobilenet_v2")


def source(name: str) -> str:
    return inspect.getsource(importlib.import_module(f"keras.src.applications.{name}"))


def tables() -> dict[str, str]:
    result = {}
    for name, patterns in TABLES.items():
        table = importlib.import_module(f"keras.src.applications.{name}").WEIGHTS_HASHES
        for key, digests in table.items():
            for pattern, digest in zip(patterns, digests, strict=True):
                result[pattern.format(key.removeprefix("-"))] = digest
    return result


def calls(name: str) -> Iterator[tuple[str, str]]:
    """Yield the file name and digest of each download in a module."""
    for node in ast.walk(ast.parse(source(name))):
        for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
            names: dict[str, str] = {}
            for line in block if isinstance(block, list) else []:
                value = getattr(line, "value", None)
                if isinstance(line, ast.Assign) and isinstance(value, ast.Constant):
                    names[ast.unparse(line.targets[0])] = value.value
                keywords = {each.arg: each.value for each in getattr(value, "keywords", [])}
                if "file_hash" in keywords:
                    file = value.args[0]
                    yield file.value if isinstance(file, ast.Constant) else names[file.id], keywords["file_hash"].value


def of_keras() -> dict[str, str]:
    return tables() | {file: digest for name in CALLS for file, digest in calls(name)}


def test_digests_equal_keras() -> None:
    keras = of_keras()
    catalog = [file for file, _ in weight_uses().values()] + [CLASS_INDEX]
    known = {file.name: file.digest for file in catalog if file.digest}
    assert known == {file.name: keras[file.name] for file in catalog if file.name in keras}
    assert known == DIGESTS
    assert len(known) == 2 * 38 + 1


def test_digests_are_missing_for_the_first_two_mobilenets_only() -> None:
    without = [(file, use) for file, use in weight_uses().values() if not file.digest]
    assert {use.spec.module for _, use in without} == set(WITHOUT)
    # Four widths of four sizes, six of five; each with and without the classification layer.
    assert len(without) == 2 * (4 * 4 + 6 * 5)
    for name in WITHOUT:
        assert "get_file(" in source(name)
        assert "file_hash" not in source(name)


@pytest.mark.parametrize("name", DIGESTS)
def test_digest_has_the_length_of_its_algorithm(name: str) -> None:
    assert len(DIGESTS[name]) == (64 if name.startswith("convnext") else 32)
    int(DIGESTS[name], 16)


def test_digests_changed_in_keras_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the expected digests come from Keras, from its tables and its calls."""
    resnet = importlib.import_module("keras.src.applications.resnet")
    monkeypatch.setitem(resnet.WEIGHTS_HASHES, "resnet50", ("0" * 32, "1" * 32))
    with pytest.raises(AssertionError):
        test_digests_equal_keras()
    assert dict(calls("vgg16"))["vgg16_weights_tf_dim_ordering_tf_kernels.h5"] == "64373286793e3c8b2b4e3219cbf3544b"
