from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, api
from transfer_cli.catalog import ensemble_methods
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.ensembling.bagging_method import check_method
from transfer_cli.errors import InputError, OptionError, UnknownNameError


@pytest.mark.parametrize("name", ensemble_methods.names())
def test_method_that_is_fitted_needs_validation_images(name: str, colours: Path) -> None:
    folder, spec, recipe = ImageFolder.scan(colours), ensemble_methods.find(name), FinetuneRecipe.load()
    check_method(spec, folder, recipe, None)
    without = recipe.with_settings("split", val=0.0)
    of_val = Split((SplitRow("red/red 00.png", "00", ("red",), "val"),), 0, "split.csv")
    of_folder = replace(folder, files=(replace(folder.files[0], part="val"), *folder.files[1:]))
    check_method(spec, folder, without, of_val)
    check_method(spec, of_folder, without, None)
    if spec.fitted:
        with pytest.raises(InputError, match=f"--method {name} is fitted on images that no member was trained on"):
            check_method(spec, folder, without, None)
    else:
        check_method(spec, folder, without, None)


def test_soup_needs_trained_networks_and_vote_one_class_per_image(colours: Path) -> None:
    folder = ImageFolder.scan(colours)
    with pytest.raises(InputError, match="averages the weights of trained networks"):
        check_method(ensemble_methods.find("soup"), folder, ExtractRecipe.load(), None)
    with pytest.raises(InputError, match="Expected average, weighted, greedy, soup"):
        check_method(ensemble_methods.find("vote"), replace(folder, task="multi-label"), FinetuneRecipe.load(), None)


def test_method_without_bags_is_an_error(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r'Received: method="?vote"? without bags='):
        api.extract(colours, method="vote", output=tmp_path / "run")
    with pytest.raises(UnknownNameError, match=r"Did you mean vote\?"):
        api.extract(colours, bags=2, method="votes", output=tmp_path / "run")
