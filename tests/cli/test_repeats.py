"""``--repeats`` of extract and finetune, as users run it, and what other commands do with its runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import transfer_cli
from tests.conftest import FINETUNE_WORDS, TINY_WORDS
from transfer_cli import TrainedRepeats, TrainedRun
from transfer_cli.cli.main import main
from transfer_cli.errors import InputError, OptionError
from transfer_cli.runs.repeats_directory import RepeatsPlan

FAST = (*TINY_WORDS, "--no-tune")
NUMBER = r"\d\.\d{3}"
IMAGE = "{colours}/red/red 00.png"


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.fixture(scope="module")
def two(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("repeats") / "two"
    return folder, invoke("extract", colours, *FAST, "--repeats", "2", "-o", folder)


@pytest.mark.integration
def test_extract_repeats_prints_table_and_writes_runs_and_summary(two: tuple[Path, Result], colours: Path) -> None:
    folder, result = two
    assert (result.exit_code, result.stdout) == (0, f"{folder}\n"), result.stderr
    rows = "".join(
        rf"{part} +{metric} +{NUMBER} +{NUMBER} +{NUMBER} to {NUMBER}\n"
        for part in ("val", "test")
        for metric in ("accuracy", "log loss")
    )
    assert re.fullmatch(
        rf"repeat 1 of 2: {folder}/seed-0\n36 images, 3 classes: .*\n(.*\n)*"
        rf"repeat 1 of 2: val accuracy {NUMBER}, test accuracy {NUMBER}\n1 more repeat to train: about \d+ seconds?\n"
        rf"repeat 2 of 2: {folder}/seed-1\n(.*\n)*repeat 2 of 2: val accuracy {NUMBER}, test accuracy {NUMBER}\n"
        rf"part  metric +mean  standard deviation  range\n{rows}"
        r"varied: the seed, and which images are training and test images\n"
        r"The standard deviation and the range are those of single trainings, and no confidence interval: "
        rf"the runs share images\.\nnext: transfer-cli runs list {folder}\n",
        result.stderr,
    ), result.stderr
    assert result.stderr.count("36 images, 3 classes") == 1
    again = invoke("--json", "extract", colours, *FAST, "--repeats", "2", "-o", folder)
    assert again.exit_code == 0, again.stderr
    assert again.stderr.splitlines()[0] == "all 2 repeats are already complete; nothing to do"
    written = json.loads((folder / "repeats.json").read_text())
    printed = json.loads(again.stdout)
    assert printed.pop("output") == str(folder)
    assert printed.items() <= written.items()
    assert written.keys() - printed.keys() == RepeatsPlan.__dataclass_fields__.keys()
    assert printed["runs"] == [{"run": f"seed-{seed}", "seed": seed, "skipped": 0} for seed in (0, 1)]
    accuracies = [
        json.loads((folder / f"seed-{seed}/metrics.json").read_text())["test"]["accuracy"]["value"] for seed in (0, 1)
    ]
    assert printed["metrics"]["test"]["accuracy"]["values"] == accuracies


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [
        *("runs show {two}", "report {two}", "leaks {two}", "export {two}", "bundle show {two}", "map {two}"),
        *("evaluate {two} {colours}", f"predict {{two}}|{IMAGE}", f"explain {{two}}|{IMAGE}", "inspect {two}"),
        *("compare {two} {two}/seed-0", "ensemble {two}/seed-0 {two}", "extract {colours} --split {two} -o x"),
        f"similar {{two}}|{IMAGE}",
    ],
)
def test_folder_of_repeats_in_place_of_a_run_is_explained(
    two: tuple[Path, Result], colours: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, _ = two
    parts = [[part] if part == IMAGE else part.split() for part in command.split("|")]
    result = invoke(*(word.format(two=folder, colours=colours) for part in parts for word in part))
    assert (result.exit_code, result.stdout) == (4, ""), result.stderr
    assert result.stderr.splitlines()[-2:] == [
        f"error: {folder} is not a single run: it holds the repeats of a training (seed-0, seed-1).",
        f"Choose one of its runs, such as {folder}/seed-0.",
    ]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.integration
def test_each_repeat_is_a_run_for_other_commands(two: tuple[Path, Result], colours: Path) -> None:
    folder, _ = two
    listed = json.loads(invoke("--json", "runs", "list", folder.parent).stdout)
    assert sorted((run["name"], run["state"]) for run in listed) == [
        ("two/seed-0", "complete"),
        ("two/seed-1", "complete"),
    ]
    shown = json.loads(invoke("--json", "runs", "show", folder / "seed-1").stdout)
    changed = {each["key"]: each["value"] for each in shown["settings"] if "seed" in each["key"]}
    assert changed == {"seed": "1", "split.seed": "1"}
    predicted = invoke("predict", folder / "seed-1", colours / "red", "--json")
    assert (predicted.exit_code, len(predicted.stdout.splitlines())) == (0, 12), predicted.stderr
    different = invoke("compare", folder / "seed-0", folder / "seed-1")
    assert (different.exit_code, "predicted different images" in different.stderr) == (3, True), different.stderr
    removed = invoke("runs", "rm", folder, "--yes")
    assert removed.exit_code == 3
    assert removed.stderr.endswith(f"transfer-cli runs rm {folder}/seed-0 {folder}/seed-1\n")


@pytest.mark.integration
def test_default_name_is_beside_the_one_of_a_single_training(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = transfer_cli.extract(colours, repeats=2, backbone="embedded", set={"classifier.tune": False})
    assert isinstance(first, TrainedRepeats)
    assert str(first.path) == "runs/colours-embedded-repeats"
    assert [str(run.path.name) for run in first] == ["seed-0", "seed-1"]
    assert (len(first), first.seeds, first.varied) == (2, (0, 1), ("train", "test"))
    assert all(isinstance(run, TrainedRun) for run in first.runs)
    spread = first.spreads["test"]["accuracy"]
    assert spread.values == tuple(run.scores["test"]["accuracy"].value for run in first)
    assert f"\n  test accuracy {spread!r}" in repr(first)
    assert f"<td>{spread.mean:.3f}</td>" in first._repr_html_()
    # Other settings get a name of their own, and the same command finds its runs complete.
    typed = ("extract", colours, "--backbone", "embedded", "--set", "classifier.tune=false", "--repeats", "2")
    for note in ("repeat 1 of 2: ", "all 2 repeats are already complete; nothing to do"):
        result = invoke(*typed, "--seed", "4")
        assert (result.exit_code, result.stdout) == (0, f"{first.path}-2\n"), result.stderr
        assert note in result.stderr
        assert f"{first.path} holds another run (--seed is 0 there and 4 here" in result.stderr
    before = (first.path / "repeats.json").read_bytes()
    assert invoke(*typed).stdout == f"{first.path}\n"
    assert (first.path / "repeats.json").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / f"{first.path}-2").glob("seed-*")) == ["seed-4", "seed-5"]
    single = invoke("extract", colours, *FAST, "-o", first.path)
    assert (single.exit_code, "is not empty and holds no run" in single.stderr) == (3, True)


@pytest.mark.integration
def test_finetune_repeats_continue_after_an_interruption(
    colours: Path, two_stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transfer_cli.training import repeats

    def interrupted(*arguments: object) -> Any:
        raise KeyboardInterrupt

    folder = tmp_path / "tuned"
    short = ("--set", "stage.1.epochs=1", "--set", "stage.2.epochs=1")
    words = ("finetune", colours, "--recipe", two_stages, *FINETUNE_WORDS, *short, "--repeats", "2", "-o", folder)
    with monkeypatch.context() as patch:
        patch.setattr(repeats, "_scores", interrupted)
        stopped = invoke(*words)
    assert stopped.exit_code == 130
    assert stopped.stderr.splitlines()[-1] == (
        "Interrupted. Finished epochs are kept; run the same command again to continue."
    )
    first = (folder / "seed-0/metrics.json").stat().st_mtime_ns
    done = invoke(*words)
    assert (done.exit_code, done.stdout) == (0, f"{folder}\n"), done.stderr
    assert (folder / "seed-0/metrics.json").stat().st_mtime_ns == first
    written = json.loads((folder / "repeats.json").read_text())
    assert [run["run"] for run in written["runs"]] == ["seed-0", "seed-1"]
    assert written["varied"] == ["seed", "train", "val", "test"]
    assert written["metrics"].keys() == {"val", "test"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract", "--repeats", "1"), "1 is not in the range 2<=x<=50"),
        (("finetune", "--repeats", "51"), "51 is not in the range 2<=x<=50"),
        (("extract", "--repeats", "2", "--bags", "2"), "--repeats cannot be combined with --bags."),
        (("extract", "--repeats", "2", "--classifier", "none"), "--repeats needs a classifier"),
        (("extract", "--repeats", "2", "--min-accuracy", "0.5"), "--min-accuracy is a limit for one model"),
        (("extract", "--repeats", "2", "--set", "split.seed=3"), "one number as seed and split.seed"),
        (("extract", "--repeats", "2", "--split", "split.csv"), "--split gives the part of every image"),
        (("finetune", "--repeats", "2", "--plan"), "--plan is about one training"),
        (("finetune", "--repeats", "2", "--time-budget", "1h"), "--repeats cannot be combined with --time-budget"),
    ],
)
def test_options_that_make_no_sense_with_repeats_are_usage_errors(
    words: tuple[str, ...], message: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = sorted(str(path.relative_to(colours)) for path in colours.rglob("*.png"))
    Path("split.csv").write_text("path,split\n" + "".join(f"{path},train\n" for path in paths))
    result = invoke(words[0], colours, *TINY_WORDS, *words[1:])
    assert (result.exit_code, result.stdout) == (2, ""), result.stderr
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


def test_python_errors_name_keywords(colours: Path) -> None:
    with pytest.raises(InputError, match=r"extract\(repeats=...\): expected a value greater than or equal to 2"):
        transfer_cli.extract(colours, repeats=1)
    with pytest.raises(TypeError, match=r"finetune\(repeats=...\): expected int or None. Received: '3'"):
        transfer_cli.finetune(colours, repeats="3")  # type: ignore[call-overload]
    with pytest.raises(OptionError, match=r"repeats= cannot be combined with bags=\."):
        transfer_cli.extract(colours, repeats=2, bags=2)
