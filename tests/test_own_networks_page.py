"""The worked example of docs/own_networks.md runs as it is printed, and its models can be exported in every format."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import REPOSITORY
from tests.own_networks import use_weights_of
from transfer_cli.cli.main import main

PAGE = (REPOSITORY / "docs/own_networks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def run(*words: str) -> Result:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (words, done.output)
    return done


@pytest.mark.integration
def test_the_example_runs_and_its_model_is_exported(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    use_weights_of(shared / "keras_home", monkeypatch)
    shutil.copytree(REPOSITORY / "sample_data/patterns", "patterns")
    (script,) = blocks("python")
    exec(compile(script, "own_networks.md", "exec"), {})
    first, second = ([shlex.split(line) for line in block.splitlines()] for block in blocks("bash"))
    for program, *words in first:
        assert program == "transfer-cli"
        run(*words)
    # What follows does not need the file, except a training that starts from it.
    kept = Path("own.keras").rename("kept.keras")
    exported = run("--json", "export", "runs/tuned", "--format", "litert,onnx", "-o", "exported")
    assert [row["format"] for row in json.loads(exported.stdout)["formats"]] == ["litert", "onnx"]
    assert "layer" in run("inspect", "runs/own").stdout
    run("explain", "runs/tuned", "patterns/dots", "-o", "maps")
    kept.rename("own.keras")
    for _, *words in second:
        shown = run(*words).stdout
    assert re.search(r"^backbone .* ancestors tuned [0-9a-f]{64}", shown, re.MULTILINE)
    assert not Path("runs/next/leaks_of_earlier_run.csv").exists()
