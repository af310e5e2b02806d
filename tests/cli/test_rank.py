"""``transfer-cli rank`` as a person meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.test_predict import rows_of
from transfer_cli.cli.main import main
from transfer_cli.data.split import Split
from transfer_cli.runs.run_directory import RunDirectory


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*words: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "rank", *map(str, words)])


def test_the_table_is_said_and_the_place_is_the_product(colours: Path) -> None:
    done = invoke(colours, "--among", "embedded", "--weights", "embedded,none")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "runs/rank-colours\n"
    place = Path("runs/rank-colours")
    with Image.open(place / "pareto.png") as plot:
        assert plot.size[0] > 500
    rows = rows_of((place / "ranking.csv").read_text())
    assert {row["weights"] for row in rows} == {"embedded", "none"}
    best = "embedded" if rows[0]["weights"] == "embedded" else "embedded, weights none"
    assert f"\n*  {best}" in done.stderr
    assert f"best: {best}; plot: runs/rank-colours/pareto.png" in done.stderr
    typed = " --weights none" if "none" in best else ""
    assert f"next: transfer-cli extract {colours} --backbone embedded{typed}\n" in done.stderr


def test_as_json_all_of_it_is_the_product(colours: Path) -> None:
    done = invoke(colours, "--among", "embedded", "--max-mb", "1", group=("--json", "--quiet"))
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["best"] is None
    assert facts["candidates"][0]["left_out"] == "over 1 MB: not tried"
    assert facts["candidates"][0]["megabytes"] == pytest.approx(3.318, abs=0.001)
    assert done.stderr == "warning: none of them can be picked: the last column says why\n"


def test_the_winner_is_trained(colours: Path) -> None:
    done = invoke(colours, "--among", "embedded", "--seed", "2", "--pick", "extract")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "runs/colours-embedded\n"
    run = RunDirectory(Path("runs/colours-embedded"))
    typed = f"transfer-cli extract {colours} --backbone embedded --seed 2"
    assert f"picked: {typed}" in done.stderr
    assert run.command.read_text() == typed + "\n"
    # What was ranked by is what the run does not test by.
    ranked = json.loads(Path("runs/rank-colours/ranking.json").read_text())["images"]
    counts = Split.read(run.split).counts()
    assert (ranked, ranked + counts["test"]) == (counts["train"], 36)


def test_nothing_is_trained_where_none_won(colours: Path) -> None:
    done = invoke(colours, "--among", "embedded", "--max-mb", "1", "--pick", "finetune")
    assert done.exit_code == 3
    assert "There is no winner to train" in done.stderr
    assert not Path("runs/colours-embedded-finetune").exists()


def test_what_could_not_be_read_is_said(colours: Path) -> None:
    folder = Path(shutil.copytree(colours, "colours"))
    (folder / "red" / "broken.png").write_bytes(b"nothing")
    done = invoke(folder, "--among", "embedded", "--score", "logme")
    assert done.exit_code == 5
    assert "1 pictures could not be read" in done.stderr
    assert invoke(folder, "--among", "embedded", "--strict").exit_code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--among", "mobilent*"), 2, "Did you mean mobilenet?"),
        (("--among", "resnet5"), 2, "Did you mean resnet50?"),
        (("--weights", "imagnet"), 2, "Did you mean imagenet?"),
        (("--among", "resnet50"), 4, "--download"),
        (("--among", "resnet*"), 4, "transfer-cli weights fetch"),
        (("--among", "lenet5"), 3, "--weights none"),
        (("--max-ms", "0"), 2, "--max-ms"),
        (("--time-budget", "soon"), 2, "is no time"),
        (("-o", "notes"), 3, "holds no ranking"),
    ],
)
def test_what_cannot_be_done(words: tuple[str, ...], code: int, said: str, colours: Path) -> None:
    Path("notes").mkdir()
    Path("notes/mine.txt").touch()
    done = invoke(colours, *words)
    assert (done.exit_code, said in done.stderr) == (code, True), done.stderr
    assert not Path("runs").exists()
