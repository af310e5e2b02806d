"""The documentation agrees with the program."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.conftest import REPOSITORY
from transfer_cli.catalog import classifiers
from transfer_cli.cli.main import _COMMANDS
from transfer_cli.errors import MissingExtraError
from transfer_cli.recipe import augmentation, normalization, recipes, sections, stages

MODULES = (augmentation, normalization, recipes, sections, stages)
MODELS = {model for module in MODULES for model in vars(module).values() if isinstance(model, type)}
SECTIONS = sorted((model for model in MODELS if issubclass(model, sections.Choices)), key=lambda model: model.__name__)
README = (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("script", ["cli.py", "recipes.py"])
def test_generated_pages_are_up_to_date(script: str) -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs" / script, "--check"], check=True)


@pytest.mark.parametrize("name", _COMMANDS)
def test_readme_names_every_command(name: str) -> None:
    assert f"`{name}" in README


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_recipe_every_setting_has_a_description(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        section = any(isinstance(kind, type) for kind in get_args(field.annotation)) or field.annotation in SECTIONS
        assert field.description or section, f"{model.__name__}.{name}"


@pytest.mark.parametrize("name", classifiers.names())
def test_readme_names_every_classifier(name: str) -> None:
    assert f"`{name}`" in README


def test_links_have_existing_targets() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        # Code blocks may contain brackets, too.
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r'\]\(([^)#: ]+)(?: "[^)]*")?\)', text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_readme_install_command() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (REPOSITORY / ".ci/run").read_text()


def test_documents_never_run_the_package_by_python_m() -> None:
    """With ``python -m``, Python runs files of the current folder that have the name of a library."""
    texts = [path for place in (".", "docs", "recipes") for path in sorted((REPOSITORY / place).glob("*.*"))]
    texts = [path for path in texts if path.suffix in (".md", ".toml", ".html", ".py")]
    assert len(texts) > 20
    assert [path.name for path in texts if "python -m transfer_cli" in path.read_text("utf-8")] == []


PAGE = (REPOSITORY / "docs/python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.integration
def test_python_page_blocks_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sample_data").symlink_to(REPOSITORY / "sample_data")
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == PAGE.count("```python") > 10
    names: dict[str, object] = {}
    for code, shown in BLOCKS:
        if "to_pandas" in code and find_spec("pandas") is None:
            with pytest.raises(MissingExtraError, match="to_pandas needs pandas"):
                exec(code, names)
            continue
        exec(code, names)
        assert capsys.readouterr() == (shown, ""), code
