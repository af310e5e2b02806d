"""The page that leads through a course: all its commands run, and print what it shows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import run_command

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def courses() -> ModuleType:
    spec = importlib.util.spec_from_file_location("courses", DOCS / "courses.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_of_keeps_all_but_numbers(courses: ModuleType) -> None:
    one, two = "test  accuracy 0.295 (-1.5 to 4; 44 images)", "test  accuracy 1.000 (-0.5 to 10; 44 images)"
    assert courses.words_of(one) == courses.words_of(two)
    assert courses.words_of(one) != courses.words_of(one.replace("accuracy", "loss"))


def test_run_page_notices_a_line_that_is_not_printed(courses: ModuleType) -> None:
    page = "```console\n$ transfer-cli rank photos\n...\nbest: 3\n```\n"
    assert courses.run_page(page, lambda _: "some\nbest: 12\n") == page.replace("3", "12")
    with pytest.raises(ValueError, match="not printed: 'best: 3'"):
        courses.run_page(page, lambda _: "some\nworst: 12\n")


def test_pictures_of_the_page_exist(courses: ModuleType) -> None:
    names = courses.pictures(courses.PAGE.read_text(encoding="utf-8"))
    assert len(names) > 5
    assert sorted(names) == sorted(path.name for path in courses.PICTURES.iterdir())


@pytest.mark.slow
def test_commands_of_the_page(courses: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    scores: dict[str, float] = {}

    def run(arguments: list[str]) -> str:
        done = run_command(*arguments)
        assert done.code == 0, f"{arguments}: {done.err}"
        if found := re.search(r"^test  accuracy ([\d.]+)", done.err, re.MULTILINE):
            scores[arguments[-1]] = float(found[1])
        return f"{done.err}\n{done.out}"

    text = courses.PAGE.read_text(encoding="utf-8")
    courses.run_page(text, run)
    for source in courses.pictures(text).values():
        assert Path(source).is_file(), source
    # What the chapters say about these images.
    assert max(scores["runs/softmax"], scores["runs/mlp"]) < 0.5 < min(scores["runs/relu"], scores["runs/tanh"])
    assert scores["runs/relu"] < scores["runs/transfer"] <= scores["runs/finetuned"]
