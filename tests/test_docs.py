"""What the documents say is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.conftest import REPOSITORY
from transfer_cli.catalog import classifiers
from transfer_cli.cli.main import _COMMANDS
from transfer_cli.recipe import recipes
from transfer_cli.recipe.sections import Choices
from transfer_cli.recipe.toml_source import meanings

SECTIONS = [model for model in vars(recipes).values() if isinstance(model, type) and issubclass(model, Choices)]
README = (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("script", ["cli.py", "recipes.py"])
def test_generated_pages_are_up_to_date(script: str) -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / script, "--check"], check=True)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}" in README


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_word_of_a_recipe_says_what_it_means(model: type[BaseModel]) -> None:
    explained = meanings(model)
    for name, field in model.model_fields.items():
        section = any(isinstance(kind, type) for kind in get_args(field.annotation)) or field.annotation in SECTIONS
        assert explained[name] or section, f"{model.__name__}.{name}"


@pytest.mark.parametrize("name", classifiers.names())
def test_every_classifier_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_links_lead_somewhere() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        # Code may have such brackets, too.
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_the_second_command_of_the_readme() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (REPOSITORY / ".ci/run").read_text()
