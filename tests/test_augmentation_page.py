"""The page about augmentation has every argument of ImageDataGenerator, and the settings that it names exist."""

from __future__ import annotations

import inspect
import re

import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from tests.conftest import REPOSITORY
from transfer_cli.errors import RecipeError
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.unknown_settings import all_settings

PAGE = (REPOSITORY / "docs/augmentation.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
ARGUMENTS = [*inspect.signature(ImageDataGenerator.__init__).parameters][1:]
SETTINGS = {*all_settings(FinetuneRecipe)}


def test_table_has_all_arguments_in_their_order() -> None:
    assert [*ROWS] == ARGUMENTS
    assert f"All {len(ARGUMENTS)} arguments:" in PAGE


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_argument_is_what_the_table_says(argument: str) -> None:
    named = re.findall(r"`(\w+\.\w+)`", ROWS[argument])
    assert {*named} <= SETTINGS
    assert named or ROWS[argument].startswith("none")
    with pytest.raises(RecipeError) as caught:
        FinetuneRecipe.load(None, [f"{argument}=1"])
    answer = str(caught.value)
    assert "Expected one of" not in answer
    if not ROWS[argument].startswith("none"):
        assert f"Did you mean {named[0]}?" in answer
