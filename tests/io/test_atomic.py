"""Atomic writes, and checks before they replace something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_evaluate import call
from tests.conftest import COLOURS, save_image
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import atomic_write, check_replaceable, scratch_folder


def test_atomic_write_replaces_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for path in (Path(), Path("../inside/deeper/..")):
        (inside / "deeper").mkdir(exist_ok=True)
        with atomic_write(path) as draft:
            assert draft.parent.resolve() == tmp_path
            draft.mkdir()
            (draft / "letter.txt").write_text("dear")
        assert [path.name for path in tmp_path.iterdir()] == ["inside"]
        assert [path.name for path in inside.iterdir()] == ["letter.txt"]
        monkeypatch.chdir(inside)


def test_scratch_folder_is_removed_when_interrupted_during_creation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def interrupted(path: Path, **options: bool) -> None:
        mkdir(path, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with scratch_folder(tmp_path / "run", ".draft-") as folder:
        (folder / "letter.txt").write_text("dear")
    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "run", ".draft-"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_scratch_folder_that_cannot_be_created_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="file could not be written: Not a directory"),
        scratch_folder(tmp_path / "file", ".draft-"),
    ):
        pass


def test_check_replaceable_refuses_files_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def known(path: Path) -> bool:
        return path.name == "ours.csv"

    target = tmp_path / "target"
    check_replaceable(target, known, "a table")
    target.mkdir()
    check_replaceable(target, known, "a table")
    (target / "ours.csv").touch()
    check_replaceable(target, known, "a table")
    (target / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"target holds mine\.txt, which is not part of a table and would be lost"):
        check_replaceable(target, known, "a table")
    (target / "mine.txt").unlink()
    (target / "ours.csv").unlink()
    (target / "ours.csv").mkdir()
    with pytest.raises(OutputError, match=r"holds ours\.csv"):
        check_replaceable(target, known, "a table")
    with pytest.raises(OutputError, match="is a file"):
        check_replaceable(Path(__file__), known, "a table")
    empty = tmp_path / "empty/deeper"
    empty.mkdir(parents=True)
    monkeypatch.chdir(empty)
    for target in (Path(), Path(".."), empty, empty.parent):
        with pytest.raises(OutputError, match="is the current folder or contains it"):
            check_replaceable(target, known, "a table")
    check_replaceable(Path("../other"), known, "a table")


def test_commands_keep_files_that_they_did_not_write(
    trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        save_image(tmp_path / "one" / "red" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    check = ["data", "check", tmp_path / "one", "--no-probe"]
    evaluate = ["evaluate", trained, tmp_path / "one"]
    for words, name, kind in ((check, "check", "a check"), (evaluate, "evaluation", "an evaluation")):
        target = tmp_path / name
        assert call(*words, "-o", target)[0] == 0
        assert call(*words, "-o", target)[0] == 0
        (target / "labels").mkdir()
        (target / "labels/mine.txt").write_text("weeks of work")
        code, _, err = call(*words, "-o", target)
        assert (code, f"{target} holds labels, which is not part of {kind} and would be lost." in err) == (3, True)
        assert (target / "labels/mine.txt").read_text() == "weeks of work"
        here = tmp_path / f"{name} here"
        here.mkdir()
        monkeypatch.chdir(here)
        code, out, err = call(*words, "-o", ".")
        assert code == 3
        assert "is the current folder" in err
        assert "measuring the images" not in err + out
        assert "loading" not in err + out
        assert call("data", "split", colours, "-o", ".")[0] == 3
        assert list(here.iterdir()) == []
