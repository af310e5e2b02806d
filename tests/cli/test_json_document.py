"""docs/json.md lists the keys of every JSON output: it is compared with real ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.conftest import FINETUNE_WORDS, REPOSITORY, TINY_WORDS
from tests.test_language import COMMANDS
from transfer_cli.cli.main import main

PAGE = (REPOSITORY / "docs/json.md").read_text("utf-8")
Keys = tuple[str, ...]
TINY = " ".join(TINY_WORDS)
QUICK = {
    "extract": f"extract {{colours}} {TINY} -o {{run}}",
    "predict": "predict {run} {image}",
    "predict -o": "predict {run} {image} --unknown -o p.csv",
    "evaluate": "evaluate {run} {colours}",
    "compare": "compare {run} {second}",
    "leaks": "leaks {run}",
    "report": "report {run}",
    "map": "map {run}",
    "ensemble": "ensemble {run} {second} -o both",
    "inspect": "inspect {run}",
    "inspect --filters": "inspect {run} --filters",
    "inspect --activations": "inspect {run} {image} --activations conv1_relu",
    "inspect --maximise": "inspect {run} --maximise conv1_relu:0",
    "inspect --strongest": "inspect {run} --strongest conv1_relu:0",
    "inspect --templates": "inspect {run} --templates",
    "similar": "similar {run} {image}",
    "similar --backbone": "similar {image} {colours} --backbone embedded",
    "similar -o": "similar {run} {image} -o s.csv",
    "data split": "data split {colours} -o split.csv",
    "data check": "data check {colours} --no-probe",
    "preview": "preview {colours}",
    "sample-data": "sample-data patterns",
    "runs list": "runs list {runs}",
    "runs show": "runs show {run}",
    "runs rm": "runs rm {spare} --yes",
    "recipes list": "recipes list",
    "recipes show": "recipes show default",
    "recipes check": "recipes check quick",
    "recipes copy": "recipes copy default mine.toml",
    "backbones list": "backbones list",
    "backbones show": "backbones show lenet5",
    "weights list": "weights list mobilenet",
    "bundle show": "bundle show {run}",
    "bundle verify": "bundle verify {run}",
    "bundle pack": "bundle pack {run} -o a.zip",
    "bundle unpack": "bundle unpack {zip} -o unpacked",
    "cache info": "cache info",
    "cache clear": "cache clear networks",
}
LONG = {
    "extract --repeats": f"extract {{colours}} {TINY} --repeats 2 -o repeats",
    "finetune": "finetune {colours} " + " ".join(FINETUNE_WORDS) + " --set stage.1.epochs=1 -o tuned",
    "finetune --plan": f"finetune {{colours}} {TINY} --plan",
    "lr-find": f"lr-find {{colours}} {TINY} --steps 10",
    "learning-curve": "learning-curve {colours} --backbone embedded -o c.png",
    "rank": "rank {colours} --among embedded --max-images 20",
    "rank --layers": "rank {colours} --layers --backbone embedded --max-images 20 -o l.png",
    "explain": "explain {run} {image} -o why",
    "export": "export {run} -o exported",
    "demo": "demo",
    "auto": "auto {colours} --among embedded --time-budget 20s",
}
WEIGHTS = {
    "weights verify": "weights verify mobilenet@0.25",
    "weights fetch": "weights fetch mobilenet@0.25 --offline",
    "weights pack": "weights pack mobilenet@0.25 -o w.tar",
    "weights install": "weights install w.tar",
}

NOT_RUN = {"runs export"}
"""Needs the extra mlflow: tests/manage/test_mlflow_export.py."""
NO_JSON = {"completion", "help"}
"""Commands that print a script or a help text."""


def documented() -> dict[str, list[Keys]]:
    """Return the keys in the tables of the page, by command."""
    tables: dict[str, list[Keys]] = {}
    for section in PAGE.split("\n## ")[1:]:
        heading, body = section.split("\n", 1)
        cells = re.findall(r"^\| (`.*?) \| ", body, re.MULTILINE)
        keys = [segments(key) for cell in cells for key in re.findall(r"`([^`]+)`", cell)]
        words = heading.split(", ")
        for name in words:
            tables[name] = keys
    return tables


def segments(key: str) -> Keys:
    """Return the parts of a documented key: names, [] for the items of a list, * for everything below."""
    return tuple(part for part in key.replace("[]", ".[]").split(".") if part)


def leaves(value: Any, path: Keys = ()) -> Iterator[Keys]:
    """Yield the path of each value in JSON data; that of an empty list or object is its own."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list) and value:
        for each in value:
            yield from leaves(each, (*path, "[]"))
    else:
        yield path


def matches(pattern: Keys, path: Keys) -> bool:
    """Return whether a path is the documented one, or stops before its end: it is null or empty."""
    for number, part in enumerate(pattern):
        if part == "*" or len(path) == number > 0:
            return True
        name = part.rstrip("?")
        if number >= len(path) or not (name == path[number] or re.fullmatch("[A-Z_]+", name)):
            return False
    return len(path) == len(pattern)


def faults(patterns: list[Keys], data: Any) -> list[str]:
    """Return the keys of data that are not documented, and the documented ones that are missing."""
    paths = [*dict.fromkeys(leaves(data))]
    unknown = [path for path in paths if not any(matches(pattern, path) for pattern in patterns)]
    required = [pattern for pattern in patterns if not any(part.endswith("?") for part in pattern)]
    missing = [pattern for pattern in required if not any(matches(pattern, path) for path in paths)]
    return [f"not documented: {'.'.join(path)}" for path in unknown] + [f"missing: {'.'.join(p)}" for p in missing]


def printed(command: str, **places: Path | str) -> Any:
    """Run a command with --json; return the object, or the first of several lines."""
    words = [word.format(**places) for word in command.split()]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code in (0, 5), result.stderr
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        return json.loads(result.stdout.splitlines()[0])


@pytest.fixture(scope="module")
def places(trained: Path, colours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transfer_cli.inference.bundle_archive import pack

    folder = tmp_path_factory.mktemp("json")
    run, second, spare = (Path(shutil.copytree(trained, folder / name)) for name in ("run", "second", "spare"))
    image = Path(shutil.copy(next((colours / "red").iterdir()), folder / "image.png"))
    packed = pack(run, folder / "a.zip")
    runs = {"run": run, "second": second, "spare": spare, "runs": folder}
    return {**runs, "colours": colours, "image": image, "zip": packed}


def test_every_command_has_a_section_and_a_run() -> None:
    ends = {path.split(" ", 1)[1] for path, (_, each) in COMMANDS.items() if not isinstance(each, click.Group)}
    ends -= NO_JSON
    assert ends <= documented().keys()
    assert ends == {name.split(" -")[0] for name in (*QUICK, *LONG, *WEIGHTS, *NOT_RUN)}
    assert {*QUICK, *LONG, *WEIGHTS, *NOT_RUN} == documented().keys()


@pytest.mark.parametrize("name", QUICK)
def test_documented_keys_are_the_real_ones(
    name: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert faults(documented()[name], printed(QUICK[name], **places)) == []


@pytest.mark.integration
@pytest.mark.parametrize("name", LONG)
def test_documented_keys_are_the_real_ones_long(
    name: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert faults(documented()[name], printed(LONG[name], **places)) == []


def test_documented_keys_of_weights(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    found = {name: faults(documented()[name], printed(command)) for name, command in WEIGHTS.items()}
    assert found == {name: [] for name in WEIGHTS}


PATTERNS = [*map(segments, ("run", "metrics.PART.*", "rows[].path", "gain?.value"))]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"run": "x", "metrics": {"test": {"accuracy": 1}}, "rows": [{"path": "a"}]}, []),
        ({"run": "x", "metrics": {}, "rows": [], "gain": {"value": 1}}, []),
        ({"run": "x", "metrics": None, "rows": []}, []),
        ({"metrics": {}, "rows": []}, ["missing: run"]),
        ({"run": "x", "metrics": {}, "rows": [{"path": "a", "new": 1}]}, ["not documented: rows.[].new"]),
        ({"run": "x", "metrics": {}, "rows": [{"new": 1}]}, ["not documented: rows.[].new", "missing: rows.[].path"]),
        ({"run": "x", "metrics": {}, "rows": [], "gain": {"other": 1}}, ["not documented: gain.other"]),
    ],
)
def test_faults_are_found(data: object, found: list[str]) -> None:
    assert faults(PATTERNS, data) == found
