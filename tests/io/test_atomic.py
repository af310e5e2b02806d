from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_evaluate import call
from tests.conftest import COLOURS, save_picture
from transfer_cli.errors import OutputError
from transfer_cli.io.atomic import must_be_ours, written_whole


def test_a_path_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for path in (Path(), Path("../inside/deeper/..")):
        (inside / "deeper").mkdir(exist_ok=True)
        with written_whole(path) as draft:
            assert draft.parent.resolve() == tmp_path
            draft.mkdir()
            (draft / "letter.txt").write_text("dear")
        assert [path.name for path in tmp_path.iterdir()] == ["inside"]
        assert [path.name for path in inside.iterdir()] == ["letter.txt"]
        monkeypatch.chdir(inside)


def test_nothing_of_a_person_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def known(path: Path) -> bool:
        return path.name == "ours.csv"

    place = tmp_path / "place"
    must_be_ours(place, known, "no table")
    place.mkdir()
    must_be_ours(place, known, "no table")
    (place / "ours.csv").touch()
    must_be_ours(place, known, "no table")
    (place / "mine.txt").touch()
    with pytest.raises(OutputError, match=r"place holds mine\.txt, which is no table, and would be lost"):
        must_be_ours(place, known, "no table")
    (place / "mine.txt").unlink()
    (place / "ours.csv").unlink()
    (place / "ours.csv").mkdir()
    with pytest.raises(OutputError, match=r"holds ours\.csv"):
        must_be_ours(place, known, "no table")
    with pytest.raises(OutputError, match="is a file"):
        must_be_ours(Path(__file__), known, "no table")
    empty = tmp_path / "empty/deeper"
    empty.mkdir(parents=True)
    monkeypatch.chdir(empty)
    for target in (Path(), Path(".."), empty, empty.parent):
        with pytest.raises(OutputError, match="is the folder that you are in, or holds it"):
            must_be_ours(target, known, "no table")
    must_be_ours(Path("../other"), known, "no table")


def test_commands_keep_what_they_did_not_write(
    trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        save_picture(tmp_path / "one" / "red" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    check = ["data", "check", tmp_path / "one", "--no-probe"]
    evaluate = ["evaluate", trained, tmp_path / "one"]
    for words, name, kind in ((check, "check", "a check"), (evaluate, "evaluation", "an evaluation")):
        place = tmp_path / name
        assert call(*words, "-o", place)[0] == 0
        assert call(*words, "-o", place)[0] == 0
        (place / "labels").mkdir()
        (place / "labels/mine.txt").write_text("weeks of work")
        code, _, err = call(*words, "-o", place)
        assert (code, f"{place} holds labels, which is no part of {kind}, and would be lost." in err) == (3, True)
        assert (place / "labels/mine.txt").read_text() == "weeks of work"
        here = tmp_path / f"{name} here"
        here.mkdir()
        monkeypatch.chdir(here)
        code, out, err = call(*words, "-o", ".")
        assert code == 3
        assert "is the folder that you are in" in err
        assert "looking at" not in err + out
        assert "loading" not in err + out
        assert call("data", "split", colours, "-o", ".")[0] == 3
        assert list(here.iterdir()) == []
