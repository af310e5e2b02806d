"""From a folder to a report, by the weights that come with the program."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer_cli import ImageFolder, ModelBundle, RunDirectory, auto, load
from transfer_cli.auto import auto as making
from transfer_cli.auto import search
from transfer_cli.auto.final_test import FinalTest
from transfer_cli.auto.progress import AutoProgress
from transfer_cli.auto.state import AutoState
from transfer_cli.data import decoding
from transfer_cli.data.skipped import Skipped, read_skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import GateError, RunError
from transfer_cli.inference.predict import predict
from transfer_cli.metrics.intervals import plain
from transfer_cli.metrics.scores import headline
from transfer_cli.progress import SILENT
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.results import CandidateScore
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import training_images_of
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.training.setup.preflight import Survey

Seen = list[tuple[str, bool]]


def watched(patch: pytest.MonkeyPatch) -> Seen:
    """Return a list of every picture that is decoded from now on, by its digest, and whether test was begun."""
    seen: Seen = []
    begun = [False]
    opened, log = decoding._opened, RunDirectory.log

    def look(data: bytes, size: int) -> Any:
        seen.append((hashlib.sha256(data).hexdigest(), begun[0]))
        return opened(data, size)

    def note(self: RunDirectory, event: str, **facts: Any) -> None:
        begun[0] = begun[0] or event == "test"
        log(self, event, **facts)

    patch.setattr(decoding, "_opened", look)
    patch.setattr(RunDirectory, "log", note)
    return seen


@pytest.fixture(scope="module")
def made(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, Seen, TrainingResult]:
    run = RunDirectory(tmp_path_factory.mktemp("auto") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        seen = watched(patch)
        result = auto(ImageFolder.scan(colours), AutoRecipe(), run, offline=True)
    return run, seen, result


def test_no_picture_of_test_is_looked_at_before_the_end(made: tuple[RunDirectory, Seen, TrainingResult]) -> None:
    run, seen, _ = made
    test = {row.sha256 for row in FinishedRun.read(run.path).split.rows if row.part == "test"}
    assert len(test) == 12
    before = {digest for digest, at_the_end in seen if not at_the_end}
    assert not before & test
    # The twin: the others are seen, and test is afterwards.
    assert len(before) == 24
    assert test <= {digest for digest, at_the_end in seen if at_the_end}
    events = [event["event"] for event in run.logged()]
    assert events.count("test") == 1
    assert events.index("choice") < events.index("test") == len(events) - 2
    for step in ("extract-embedded", "finetune-embedded", "ensemble"):
        directory = RunDirectory(run.steps / step)
        assert "test" not in directory.read_metrics()
        assert not directory.predictions("test").exists()


def test_what_it_leaves_is_a_run_like_any_other(made: tuple[RunDirectory, Seen, TrainingResult]) -> None:
    run, _, result = made
    finished = FinishedRun.read(run.path)
    assert set(finished.metrics) == {"val", "test"}
    assert finished.metrics == result.metrics
    assert finished.split.counts() == {"train": 21, "val": 3, "test": 12}
    answered = finished.answered("test")
    paths = [str(finished.root / path) for path in answered.predictions.paths]
    now = np.concatenate([batch.probabilities for batch in predict(load(str(run.path)), paths)])
    np.testing.assert_allclose(now, answered.predictions.probabilities, atol=1e-5)
    bundle, directory = ModelBundle.read(run.path)
    assert "| accuracy | " in (directory / "MODEL_CARD.md").read_text()
    assert "There was no test part" not in (directory / "MODEL_CARD.md").read_text()
    assert finished.recipe["method"] in ("extract", "finetune", "ensemble")
    assert bundle.recipe["method"] == finished.recipe["method"]
    learnt = training_images_of(str(run.path))
    assert learnt is not None
    assert {*learnt.say([row.sha256 for row in finished.split.rows if row.part == "test"])} == {"no"}
    page = run.report.read_text("utf-8")
    assert all(f">{name}<" in page for name in ("blue", "green", "red"))
    state = json.loads(run.auto.read_text())
    assert (run.steps / state["winner"]).is_dir()
    assert state["ranked"] == [{"backbone": "embedded", "weights": "embedded"}]
    assert state["seconds"] > 0
    assert (run.steps / "rank/ranking.json").is_file()
    assert (run.steps / "check/check.json").is_file()


def test_the_same_again_does_nothing_and_other_choices_or_pictures_are_another_run(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    run, _, result = made
    folder = ImageFolder.scan(colours)
    before = run.report.stat().st_mtime_ns
    again = auto(folder, AutoRecipe(), run, offline=True)
    assert again.was_complete
    assert again.metrics == result.metrics
    assert run.report.stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"seconds is 600\.0 there and 60\.0 here"):
        auto(folder, AutoRecipe(seconds=60), run, offline=True)
    with pytest.raises(RunError, match=f"holds another run: its folder is {colours}"):
        auto(replace(folder, source=tmp_path), AutoRecipe(), run, offline=True)


def stopped_before_test(run: RunDirectory, place: Path) -> RunDirectory:
    """Return a copy of a run as it was just before test: the steps are there, and it is decided which is taken."""
    stopped = RunDirectory(Path(shutil.copytree(run.path, place)))
    for path in (stopped.metrics, stopped.report, stopped.features, stopped.predictions("test")):
        path.unlink(missing_ok=True)
    shutil.rmtree(stopped.model)
    stopped.recipe.write_text(AutoRecipe().to_toml())
    return stopped


def forget(run: RunDirectory, **facts: Any) -> None:
    """Write other facts into auto.json."""
    run.auto.write_text(json.dumps({**json.loads(run.auto.read_text()), **facts}))


def remembering(patch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that gets a truth for each training from now on: whether it had been done before."""
    done: list[bool] = []

    def remember(method: Any) -> Any:
        def call(*words: Any, **options: Any) -> TrainingResult:
            found: TrainingResult = method(*words, **options)
            done.append(found.was_complete)
            return found

        return call

    for name in ("extract", "finetune"):
        patch.setattr(search, name, remember(getattr(search, name)))
    return done


def test_a_stopped_one_ranks_and_trains_nothing_again(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, result = made
    stopped = stopped_before_test(run, tmp_path / "run")
    forget(stopped, winner="", seconds=500.0)
    done = remembering(monkeypatch)
    monkeypatch.delattr(search, "rank")
    again = auto(ImageFolder.scan(colours), AutoRecipe(), stopped, offline=True)
    assert done == [True, True]
    assert again.metrics == result.metrics
    # What it took before was not given back.
    assert json.loads(stopped.auto.read_text())["seconds"] > 500


def test_what_was_spent_is_not_to_be_had_again(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    stopped = stopped_before_test(made[0], tmp_path / "run")
    shutil.rmtree(stopped.steps / "finetune-embedded")
    shutil.rmtree(stopped.steps / "ensemble")
    forget(stopped, winner="", seconds=599.0)
    auto(ImageFolder.scan(colours), AutoRecipe(), stopped, offline=True)
    assert not (stopped.steps / "finetune-embedded").exists()
    assert json.loads(stopped.auto.read_text())["winner"] == "extract-embedded"


def test_killed_before_its_figures_were_written_it_goes_on(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, result = made
    stopped = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    stopped.metrics.unlink()
    stopped.report.unlink()
    assert stopped.read_recipe()["method"] != "auto"
    done = remembering(monkeypatch)
    again = auto(ImageFolder.scan(colours), AutoRecipe(), stopped, offline=True)
    assert again.metrics == result.metrics
    # It was decided before test was read: nothing of it is decided again.
    assert done == []
    assert stopped.report.is_file()


@pytest.mark.parametrize("recipe_is_there", [True, False])
def test_killed_before_its_report_it_only_writes_that(
    recipe_is_there: bool,
    made: tuple[RunDirectory, Seen, TrainingResult],
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _, result = made
    stopped = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    stopped.report.unlink()
    if not recipe_is_there:
        stopped.recipe.write_text(AutoRecipe().to_toml())
    monkeypatch.delattr(making, "FinalTest")
    written: list[Path] = []
    monkeypatch.setattr(making, "report", lambda run, **_: written.append(run.directory.report))
    again = auto(ImageFolder.scan(colours), AutoRecipe(), stopped, offline=True)
    assert again.metrics == result.metrics
    assert not again.was_complete
    assert written == [stopped.report]
    assert stopped.recipe.read_bytes() == run.recipe.read_bytes()
    assert [event["event"] for event in stopped.logged()].count("test") == 1


def test_its_recipe_puts_the_same_pictures_aside(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path
) -> None:
    run = made[0]
    split = FinishedRun.read(run.path).split
    for step in ("extract-embedded", "finetune-embedded"):
        bundle, _ = ModelBundle.read(run.steps / step)
        for shares in (RunDirectory(run.steps / step).read_recipe()["split"], bundle.recipe["split"]):
            again = Split.make(
                ImageFolder.scan(colours).files,
                [row.sha256 for row in split.rows],
                test=shares["test"],
                val=shares["val"],
                seed=shares["seed"],
            )
            assert again.rows == split.rows


def test_a_bar_that_is_not_reached_leaves_no_model(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    run = stopped_before_test(made[0], tmp_path / "run")
    # No classifier of three colours is worse than this one pretends to be.
    for table in run.steps.glob("*/model/linear.npz"):
        from tests.hostile_files import reseal
        from transfer_cli.classifiers.linear import Linear

        linear = Linear.load(table)
        Linear(np.roll(linear.kernel, 1, axis=1), np.roll(linear.bias, 1), linear.activation).save(table)
        reseal(table.parent)
    with pytest.raises(GateError, match="No model was written"):
        auto(ImageFolder.scan(colours), AutoRecipe(), run, min_accuracy=0.9, offline=True)
    assert not run.model.exists()
    assert run.read_metrics()["test"]["accuracy"]["value"] < 0.9
    # Without the bar the same run is completed; what is taken stays as it was decided.
    winner = json.loads(run.auto.read_text())["winner"]
    assert auto(ImageFolder.scan(colours), AutoRecipe(), run, offline=True).metrics["test"]["accuracy"]["value"] < 0.9
    assert json.loads(run.auto.read_text())["winner"] == winner


class Told:
    """What a person is told."""

    def __init__(self) -> None:
        self.warned: list[str] = []
        self.noted: list[str] = []

    def note(self, text: str) -> None:
        self.noted.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def track(self, what: str, total: int | None) -> Any:
        return SILENT.track(what, total)


def test_what_was_not_learnt_is_no_question_of_test(
    made: tuple[RunDirectory, Seen, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    """A class whose pictures of train are broken stands before the others: their columns must not move."""
    run, _, result = made
    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    for number in range(2):
        shutil.copyfile(photos / f"red/red {number:02}.png", photos / f"red/amber {number}.png")
    (photos / "amber").mkdir()
    for number in range(2):
        (photos / f"red/amber {number}.png").rename(photos / f"amber/{number}.png")
    folder = ImageFolder.scan(photos)
    was = FinishedRun.read(run.path).split
    known = {row.path: row for row in was.rows}
    rows = tuple(known.get(file.path) or SplitRow(file.path, "0" * 64, file.labels, "test") for file in folder.files)
    gone = Skipped("red/gone.png", "there is no such file")
    found = Survey(Split(rows, 0, "digest"), tuple(range(len(rows))), (gone,))
    place, told = RunDirectory(tmp_path / "run"), Told()
    place.begin(AutoRecipe(), photos)
    name = json.loads(run.auto.read_text())["winner"]
    step = RunDirectory(run.steps / name)
    winner = TrainingResult(step, step.read_metrics(), (), "")
    again = FinalTest(TrainingRequest(folder, place, progress=told), found, winner).write()
    assert again.metrics == result.metrics
    assert place.predictions("test").read_bytes() == run.predictions("test").read_bytes()
    left_out = {item.path: item.reason for item in read_skipped(place.skipped)}
    assert {*left_out} == {"amber/0.png", "amber/1.png", gone.path}
    assert left_out["amber/0.png"] == "no picture of amber could be read to learn from"
    assert [*again.skipped] == [*read_skipped(place.skipped)]
    assert any("2 pictures of test are left out: no picture of amber" in line for line in told.warned)


def test_without_val_the_best_of_the_ranking_is_taken(
    made: tuple[RunDirectory, Seen, TrainingResult], tmp_path: Path
) -> None:
    """Whatever learnt last: nothing says that it learnt more."""
    run = RunDirectory(Path(shutil.copytree(made[0].path, tmp_path / "run")))
    told = Told()
    split = Split.read(run.split)
    none = replace(split, rows=tuple(row if row.part == "test" else replace(row, part="train") for row in split.rows))
    folder = ImageFolder.scan(Path(run.folder.read_text().strip()))
    request = TrainingRequest(folder, run, progress=told)
    names = ["extract-embedded", "extract-mobilenet", "finetune-embedded", "finetune-mobilenet"]
    for found, why in (
        (none, "none of train can be spared"),
        (split, "no picture of val to compare by that can be read"),
    ):
        survey = Survey(found, tuple(range(len(found.rows))), ())
        standing = AutoProgress(request, AutoState.begin(AutoRecipe()))
        decides = search.ModelSearch(request, AutoRecipe(), survey, standing)
        for name in names:
            step = RunDirectory(tmp_path / name)
            step.path.mkdir(exist_ok=True)
            none.write(step.split)
            out_of_fold = {"val": {"accuracy": plain(0.5)}} if name.startswith("extract") else {}
            decides._trained[name] = TrainingResult(step, out_of_fold, (), "")
        assert decides._chosen([Candidate("embedded", "embedded"), Candidate("mobilenet", "imagenet")]) == names[0]
        assert why in told.noted[-1]
        assert "(accuracy 0.500 out of fold)" in told.noted[-1]


def test_a_ranking_says_which_figure_it_shows() -> None:
    row = CandidateScore(Candidate("embedded", "embedded"), accuracy=plain(0.25))
    assert search._in_words(row) == "embedded accuracy 0.250"
    assert search._in_words(replace(row, mean_average_precision=0.75)) == "embedded mean average precision 0.750"
    assert headline({"accuracy": plain(0.25), "mean_average_precision": plain(0.75)}) == "mean average precision 0.750"
    assert headline({}) == ""


@pytest.mark.parametrize("few", [30, 3])
def test_a_split_without_val_gets_one_and_a_small_one_is_warned_of(
    few: int, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = ImageFolder.scan(colours), Told()
    rows = [
        SplitRow(file.path, hashlib.sha256((colours / file.path).read_bytes()).hexdigest(), file.labels, "train")
        for file in folder.files
    ]
    rows[::4] = [replace(row, part="test") for row in rows[::4]]
    run = RunDirectory(tmp_path / "run")
    request = TrainingRequest(folder, run, split=Split(tuple(rows), 0, "split.csv"), progress=told)
    run.path.mkdir()
    monkeypatch.setattr(making, "_FEW", few)
    making._Auto(request, AutoRecipe(), AutoState.begin(AutoRecipe()))._parted()
    counts = Split.read(run.split).counts()
    assert counts["test"] == 9
    assert 3 <= counts["val"] < 30
    assert any(f"chosen by {counts['val']} pictures of val" in line for line in told.warned) == (few == 30)
