"""Loading a model that a training replaces at the same moment."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.errors import ModelError
from transfer_cli.inference import load as loading


@pytest.mark.parametrize("fails", [True, False])
def test_load_of_a_model_that_is_replaced_meanwhile_starts_again(
    fails: bool, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    load_bundle, loaded = loading._Loader.load, []

    def replaced(loader: Any, opened: Any) -> Any:
        loaded.append(load_bundle(loader, opened))
        if len(loaded) == 1:
            # Another training gives the same files with another manifest.
            opened.bundle.model_copy(update={"resize": "pad", "files": {}, "digest": ""}).write(
                model, lambda folder: copied(trained / "model", folder)
            )
            if fails:
                raise ModelError("a file was altered")
        return loaded[-1]

    monkeypatch.setattr(loading._Loader, "load", replaced)
    assert loading.load(str(model)) is loaded[1]
    assert loaded[1].views[0].resize == "pad"


def test_load_of_a_damaged_model_fails_at_once(trained: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    (model / "linear.npz").write_bytes(b"")
    with pytest.raises(ModelError, match=r"linear\.npz was altered"):
        loading.load(str(model))
    with pytest.raises(ModelError, match="There is no run or bundle"):
        loading.load(str(tmp_path / "missing"))


def copied(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.name != "bundle.json":
            shutil.copyfile(path, target / path.name)


@pytest.mark.parametrize(
    "inference", [{"runtime": "other"}, {"runtime": "auto"}, {}, [], None, {"runtime": ["litert"]}]
)
def test_load_of_a_bundle_with_an_odd_runtime_is_a_model_error(
    inference: object, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ModelBundle.open(trained)
    recipe = {**opened.bundle.recipe, "inference": inference}
    changed = dataclasses.replace(opened, bundle=opened.bundle.model_copy(update={"recipe": recipe}))
    monkeypatch.setattr(ModelBundle, "open", lambda path: changed)
    with pytest.raises(ModelError, match="made for a runtime that this release does not support") as caught:
        loading.load(str(trained))
    assert "pydantic" not in str(caught.value)
