"""What the documents say is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from transfer_cli.catalog import classifiers
from transfer_cli.cli import _COMMANDS

README = (REPOSITORY / "README.md").read_text()


def test_the_command_reference_is_up_to_date() -> None:
    subprocess.run([sys.executable, REPOSITORY / "docs/cli.py", "--check"], check=True)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}" in README


@pytest.mark.parametrize("name", classifiers.names())
def test_every_classifier_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_links_lead_somewhere() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_the_second_command_of_the_readme() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[1] in (REPOSITORY / ".ci/run").read_text()
