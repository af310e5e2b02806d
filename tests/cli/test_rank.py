"""``transfer-cli rank`` as users run it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.test_predict import rows_of
from transfer_cli.cli.main import main
from transfer_cli.data.split import Split
from transfer_cli.runs.run_directory import RunDirectory

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str | Path, group: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, [*group, "rank", *map(str, arguments)])


def test_rank_prints_table_and_output_folder(colours: Path) -> None:
    result = invoke(colours, "--among", "embedded", "--weights", "embedded,none")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "runs/rank-colours\n"
    place = Path("runs/rank-colours")
    with Image.open(place / "pareto.png") as plot:
        assert plot.size[0] > 500
    rows = rows_of((place / "ranking.csv").read_text())
    assert {row["weights"] for row in rows} == {"embedded", "none"}
    best = "embedded" if rows[0]["weights"] == "embedded" else "embedded, weights none"
    assert re.search(rf"\n\* +{best}", result.stderr)
    assert f"best: {best}; plot: runs/rank-colours/pareto.png" in result.stderr
    typed = " --weights none" if "none" in best else ""
    assert f"next: transfer-cli extract {colours} --backbone embedded{typed}\n" in result.stderr


def test_rank_json_has_reason_for_skipped(colours: Path) -> None:
    result = invoke(colours, "--among", "embedded", "--max-mb", "1", group=("--json", "--quiet"))
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["best"] is None
    assert data["candidates"][0]["left_out"] == "over 1 MB: not tried"
    assert data["candidates"][0]["megabytes"] == pytest.approx(3.318, abs=0.001)
    assert result.stderr == "warning: no network can be recommended; see the last column of the table for the reasons\n"


def test_rank_next_command_trains_on_the_ranked_images(colours: Path) -> None:
    result = invoke(colours, "--among", "embedded", "--seed", "2")
    command = f"transfer-cli extract {colours} --backbone embedded --seed 2"
    assert f"next: {command}\n" in result.stderr
    trained = CliRunner().invoke(main, shlex.split(command)[1:])
    assert (trained.exit_code, trained.stdout) == (0, "runs/colours-embedded\n"), trained.stderr
    # The ranking used the training images of the run only.
    ranked = json.loads(Path("runs/rank-colours/ranking.json").read_text())["images"]
    counts = Split.read(RunDirectory(Path("runs/colours-embedded")).split).counts()
    assert (ranked, ranked + counts["test"]) == (counts["train"], 36)


def test_rank_unreadable_image_exits_with_5(colours: Path) -> None:
    folder = Path(shutil.copytree(colours, "colours"))
    (folder / "red" / "broken.png").write_bytes(b"nothing")
    result = invoke(folder, "--among", "embedded", "--score", "logme")
    assert result.exit_code == 5
    assert "1 image could not be read" in result.stderr
    assert invoke(folder, "--among", "embedded", "--strict").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--among", "mobilent*"), 2, "Did you mean mobilenet?"),
        (("--among", "resnet5"), 2, "Did you mean resnet50?"),
        (("--weights", "imagnet"), 2, "Did you mean imagenet?"),
        (("--among", "resnet50"), 4, "--download"),
        (("--among", "resnet*"), 4, "transfer-cli weights fetch"),
        (("--among", "lenet5"), 3, "--weights none"),
        (("--max-ms", "0"), 2, "--max-ms"),
        (("--time-budget", "soon"), 2, "is not a time span"),
        (("-o", "notes"), 3, "holds no ranking"),
    ],
)
def test_rank_wrong_usage_is_error(arguments: tuple[str, ...], code: int, message: str, colours: Path) -> None:
    Path("notes").mkdir()
    Path("notes/mine.txt").touch()
    result = invoke(colours, *arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert not Path("runs").exists()
