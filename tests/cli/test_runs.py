"""``transfer-cli runs`` as users run it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.manage.planted_runs import ensemble_of, finished_ranking, finished_run
from transfer_cli.cli.main import main
from transfer_cli.runs import lock
from transfer_cli.runs.run_directory import RunDirectory

DATE = re.compile(r"\d{4}-\d\d-\d\d")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with runs of each kind, made once."""
    root = tmp_path_factory.mktemp("made") / "runs"
    first = finished_run(root, "first")
    for log, time in (("begin", "2026-01-02T10:00:00+00:00"), ("end", "2026-01-02T11:00:00+00:00")):
        with first.events.open("a") as events:
            events.write(json.dumps({"event": log, "time": time}) + "\n")
    ensemble_of(root / "project", "both", first, finished_run(root, "second"))
    finished_ranking(root, "rank-images")
    unfinished = finished_run(root, "unfinished")
    unfinished.metrics.unlink()
    damaged = finished_run(root, "damaged")
    (damaged.model / "linear.npz").write_bytes(b"")
    return root


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "runs")
    return Path("runs")


def rows_of(text: str) -> dict[str, str]:
    """Return the row of each name in a list that has names on lines of their own."""
    lines = text.splitlines()[2:]
    return {lines[number]: DATE.sub("DATE", lines[number + 1]).strip() for number in range(0, len(lines), 2)}


def test_list_shows_runs_of_each_kind_in_80_columns(runs: Path) -> None:
    result = call("runs", "list", "--sort", "name")
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert [re.sub(r" +", " ", row) for row in result.stdout.splitlines()[:2]] == [
        "name",
        " date method backbone images test (95 % interval) size",
    ]
    rows = {name: re.sub(r" {2,}", "|", row) for name, row in rows_of(result.stdout).items()}
    size = rows["first"].rpartition("|")[2]
    assert rows == {
        "damaged": f"DATE|extract|mobilenet@0.25|54|damaged|{rows['damaged'].rpartition('|')[2]}",
        "first": f"DATE|extract|mobilenet@0.25|54|0.833 (0.608-0.942)|{size}",
        "project/both": f"DATE|ensemble|2 members|54|0.833 (0.608-0.942)|{rows['project/both'].rpartition('|')[2]}",
        "rank-images": f"DATE|rank|mobilenet|30|cv 0.800 (0.700-0.900)|{rows['rank-images'].rpartition('|')[2]}",
        "second": f"DATE|extract|mobilenet@0.25|54|0.833 (0.608-0.942)|{rows['second'].rpartition('|')[2]}",
        "unfinished": f"DATE|extract|mobilenet@0.25|54|unfinished|{rows['unfinished'].rpartition('|')[2]}",
    }
    assert "warning: runs/damaged is damaged: runs/damaged/model/linear.npz was altered\n" in result.stderr
    assert result.stderr.endswith("next: transfer-cli runs show runs/first\n")


def test_list_json_and_sorting(runs: Path) -> None:
    data = json.loads(call("--json", "runs", "list").stdout)
    assert data[-1]["name"] == "first"  # the oldest, by its log
    assert data[-1]["date"].startswith("2026-01-02T1")
    assert {row["state"] for row in data} == {"complete", "unfinished", "damaged"}
    first = data[-1]
    assert first["bytes"] == sum(path.stat().st_size for path in (runs / "first").rglob("*") if path.is_file())
    assert (first["part"], first["metric"], first["score"]["value"]) == ("test", "accuracy", pytest.approx(15 / 18))
    sizes = [row["bytes"] for row in json.loads(call("--json", "runs", "list", "--sort", "size").stdout)]
    assert sizes == sorted(sizes, reverse=True)
    scored = [row["part"] for row in json.loads(call("--json", "runs", "list", "--sort", "score").stdout)]
    assert scored == ["test", "test", "test", "cv", "", ""]


def test_list_without_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("runs", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("there are no runs here: runs does not exist\nnext: ")
    assert result.stderr.count("there are no runs") == 1
    assert json.loads(call("--json", "runs", "list").stdout) == []
    assert call("runs", "list", "typo").exit_code == 3
    assert call("runs", "list", "--sort", "dat").exit_code == 2


def test_list_links_and_runs_being_written(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs / "latest").symlink_to("first", target_is_directory=True)
    (runs / "project" / "circle").symlink_to(Path.cwd() / "runs", target_is_directory=True)
    busy = (runs / "second").resolve()
    monkeypatch.setattr(lock, "is_busy", lambda path: path.resolve() == busy)
    rows = {row["name"]: row["state"] for row in json.loads(call("--json", "runs", "list").stdout)}
    assert rows == {
        **dict.fromkeys(("first", "project/both", "rank-images"), "complete"),
        **{"second": "being written", "unfinished": "unfinished", "damaged": "damaged"},
    }


def test_show_everything_about_a_run(runs: Path) -> None:
    result = call("runs", "show", "first")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "run       runs/first (complete)"
    assert "method    extract, mobilenet@0.25" in lines
    assert "command   transfer-cli extract images --backbone mobilenet@0.25 --set batch_size=8 -o first" in lines
    assert "settings  --backbone mobilenet@0.25 (default: mobilenet_v2)" in lines
    assert "          --set batch_size 8 (default: 32)" in lines
    assert "split     24 train, 12 val, 18 test" in lines
    assert "          test  accuracy 0.833 (95 % interval 0.608 to 0.942; 18 images)" in lines
    assert "          model/ (" in result.stdout
    assert "next: transfer-cli predict runs/first YOUR_IMAGES --format table\n" in result.stderr
    data = json.loads(call("--json", "runs", "show", runs / "first").stdout)
    assert [(each["option"], each["value"]) for each in data["settings"]] == [
        ("--backbone", "mobilenet@0.25"),
        ("--set batch_size", "8"),
    ]
    assert data["split"] == {"train": 24, "val": 12, "test": 18}


def test_show_other_kinds(runs: Path) -> None:
    ensemble = call("runs", "show", "project/both")
    assert "\nmembers   first, second\n" in ensemble.stdout
    assert "\nsettings  all defaults\n" in ensemble.stdout
    ranking = call("runs", "show", "rank-images")
    assert "\nsettings  --seed 1 (default: 0)\n" in ranking.stdout
    assert "\nscores    cv accuracy 0.800 (95 % interval 0.700 to 0.900)\n" in ranking.stdout
    assert ranking.stderr.startswith("next: transfer-cli extract ")
    assert ranking.stderr.endswith(" --backbone mobilenet\n")
    unfinished = call("runs", "show", "unfinished")
    assert unfinished.stdout.startswith("run       runs/unfinished (unfinished)\n")
    assert "next: transfer-cli extract images --backbone mobilenet@0.25" in unfinished.stderr
    damaged = call("runs", "show", "damaged")
    assert damaged.stdout.startswith("run       runs/damaged (damaged: runs/damaged/model/linear.npz was altered)\n")
    assert damaged.stderr.endswith(" -o damaged --overwrite\n")


def test_show_missing_run_is_4_with_the_nearest_name(runs: Path) -> None:
    for name in ("frist", "runs/frist"):
        result = call("runs", "show", name)
        assert (result.exit_code, result.stdout) == (4, "")
        assert f"There is no run at {name}. Did you mean runs/first?" in result.stderr
    assert call("runs", "show", "runs").exit_code == 3


def test_rm_without_yes_lists_and_exits_with_2(runs: Path) -> None:
    before = sorted(runs.rglob("*"))
    result = call("runs", "rm", "unfinished", runs / "rank-images")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.sub(r"\d+\.\d MB|\d+ files", "N", result.stderr) == (
        "error: Nothing was removed. This would be:\n"
        "  runs/unfinished (N, N)\n"
        "  runs/rank-images (N, N)\n"
        "  N in all\n"
        "Remove: transfer-cli runs rm unfinished runs/rank-images --yes\n"
    )
    assert sorted(runs.rglob("*")) == before


def test_rm_with_yes_removes_what_was_named(runs: Path) -> None:
    result = call("--json", "runs", "rm", "unfinished", "runs/rank-images", "runs/unfinished", "--yes")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["removed"] == ["runs/unfinished", "runs/rank-images"]
    assert sorted(path.name for path in runs.iterdir() if path.name[0] != ".") == [
        "damaged", "first", "project", "second"
    ]  # fmt: skip
    assert call("runs", "rm", "unfinished", "--yes").exit_code == 4


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("runs", "it is a folder that contains runs, such as runs/damaged"),
        ("runs/project", "it is a folder that contains runs, such as runs/project/both"),
        ("latest", "latest is a link to"),
        ("photos", "photos is not a run"),
        ("notes.txt", "it is a file"),
        ("runs/outer", "contains another run, runs/outer/inner"),
        ("runs/first/model", "is not a run"),
    ],
)
def test_rm_refuses_what_is_not_a_run(path: str, message: str, runs: Path) -> None:
    Path("latest").symlink_to("runs/first", target_is_directory=True)
    Path("photos/cat").mkdir(parents=True)
    Path("notes.txt").touch()
    shutil.copytree("runs/first", "runs/outer")
    shutil.copytree("runs/first", "runs/outer/inner")
    before = sorted(Path().rglob("*"))
    # Nothing goes if one of the paths is refused.
    result = call("runs", "rm", "second", path, "--yes")
    assert result.exit_code == 3
    assert message in result.stderr
    assert sorted(Path().rglob("*")) == before


def test_rm_keeps_a_run_that_is_written_and_the_current_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree("runs/second", "runs/first/bags/01")
    busy = (runs / "first/bags/01").resolve()
    with monkeypatch.context() as patch:
        patch.setattr(lock, "is_busy", lambda path: path.resolve() == busy)
        result = call("runs", "rm", "first", "--yes")
    assert (result.exit_code, "Another process is writing the run runs/first/bags/01" in result.stderr) == (3, True)
    monkeypatch.chdir(runs / "second")
    assert "is the current folder" in call("runs", "rm", ".", "--yes").stderr
    monkeypatch.chdir("../..")
    assert call("runs", "rm", "first", "--yes").exit_code == 0, "bags go with their run"


def test_rm_removes_links_in_a_run_and_not_their_targets(runs: Path) -> None:
    Path("kept").mkdir()
    Path("kept/image.png").touch()
    (runs / "first" / "link").symlink_to(Path("kept").resolve(), target_is_directory=True)
    result = call("runs", "rm", "first", "--yes")
    assert result.exit_code == 0
    assert "warning: runs/first also holds link, which is not of the run\n" in result.stderr
    assert Path("kept/image.png").is_file()
    assert not os.path.lexists("runs/first")


def test_rm_warns_of_runs_that_refer_to_it(runs: Path) -> None:
    follower = RunDirectory(runs / "second")
    follower.command.write_text("transfer-cli extract images --split=runs/first/split.csv -o runs/second\n")
    result = call("runs", "rm", "first")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "warning: runs/project/both is an ensemble of runs/first: its model has a copy and can be used, but the same "
        "command cannot be run again\n"
        "warning: runs/second was made with runs/first/split.csv: its command cannot be run again\n"
    )
    # Not of those that go as well.
    both = call("runs", "rm", "first", "second", "runs/project/both", "--yes")
    assert (both.exit_code, "warning" in both.stderr) == (0, False)


def test_export_without_mlflow_names_the_extra(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = call("runs", "export", "--mlflow", "mlflow", "first")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "error: runs export --mlflow needs the package mlflow, which is not installed.\n"
        "Install it: pip install 'transfer-cli[mlflow]'\n"
    )
    assert call("runs", "export", "first").exit_code == 2
