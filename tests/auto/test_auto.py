"""The command `auto` from a folder to a report, with the embedded weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer_cli import ImageFolder, ModelBundle, RunDirectory, load
from transfer_cli.auto import auto as making
from transfer_cli.auto import search
from transfer_cli.auto.auto import auto
from transfer_cli.auto.final_test import FinalTest
from transfer_cli.auto.state import AutoProgress, AutoState
from transfer_cli.data import decoding
from transfer_cli.data.skipped import Skipped, read_skipped
from transfer_cli.data.split import Split, SplitRow
from transfer_cli.errors import GateError, RunError
from transfer_cli.inference.predict import predict
from transfer_cli.metrics.intervals import exact_value
from transfer_cli.metrics.scores import headline
from transfer_cli.progress import SILENT
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.results import CandidateScore
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.training.setup.preflight import Survey

pytestmark = pytest.mark.integration

Decoded = list[tuple[str, bool]]


def watched(patch: pytest.MonkeyPatch) -> Decoded:
    """Return a list that gets, per decoded image, its digest and whether the final test has begun."""
    decoded: Decoded = []
    begun = [False]
    opened, log = decoding._open, RunDirectory.log

    def look(data: bytes, size: int, bit_depth: int | None) -> Any:
        decoded.append((hashlib.sha256(data).hexdigest(), begun[0]))
        return opened(data, size, bit_depth)

    def note(self: RunDirectory, event: str, **facts: Any) -> None:
        begun[0] = begun[0] or event == "test"
        log(self, event, **facts)

    patch.setattr(decoding, "_open", look)
    patch.setattr(RunDirectory, "log", note)
    return decoded


@pytest.fixture(scope="module")
def made(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, Decoded, TrainingResult]:
    run = RunDirectory(tmp_path_factory.mktemp("auto") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        decoded = watched(patch)
        result = auto(TrainingRequest(ImageFolder.scan(colours), run, offline=True), AutoRecipe())
    return run, decoded, result


def test_auto_decodes_no_test_image_before_the_final_test(
    made: tuple[RunDirectory, Decoded, TrainingResult],
) -> None:
    run, decoded, _ = made
    test = {row.sha256 for row in FinishedRun.read(run.path).split.rows if row.part == "test"}
    assert len(test) == 12
    before = {digest for digest, at_the_end in decoded if not at_the_end}
    assert not before & test
    # Counter-check: the other images are decoded before, and test afterwards.
    assert len(before) == 24
    assert test <= {digest for digest, at_the_end in decoded if at_the_end}
    events = [event["event"] for event in run.read_events()]
    assert events.count("test") == 1
    assert events.index("choice") < events.index("test") == len(events) - 2
    for step in ("extract-embedded", "finetune-embedded", "ensemble"):
        directory = RunDirectory(run.steps / step)
        assert "test" not in directory.read_metrics()
        assert not directory.predictions("test").exists()


def test_auto_result_is_a_run_like_any_other(made: tuple[RunDirectory, Decoded, TrainingResult]) -> None:
    run, _, result = made
    finished = FinishedRun.read(run.path)
    assert set(finished.metrics) == {"val", "test"}
    assert finished.metrics == result.metrics
    assert finished.split.counts() == {"train": 21, "val": 3, "test": 12}
    answered = finished.predictions_of("test")
    paths = [str(finished.root / path) for path in answered.predictions.paths]
    now = np.concatenate([batch.probabilities for batch in predict(load(str(run.path)), paths)])
    np.testing.assert_allclose(now, answered.predictions.probabilities, atol=1e-5)
    bundle, directory = ModelBundle.read(run.path)
    assert "| accuracy | " in (directory / "MODEL_CARD.md").read_text()
    assert "There was no test set" not in (directory / "MODEL_CARD.md").read_text()
    assert finished.recipe["method"] in ("extract", "finetune", "ensemble")
    assert bundle.recipe["method"] == finished.recipe["method"]
    images = training_images_of(str(run.path))
    assert images is not None
    assert {*images.roles_of([row.sha256 for row in finished.split.rows if row.part == "test"])} == {"unseen"}
    page = run.report.read_text("utf-8")
    assert all(f">{name}<" in page for name in ("blue", "green", "red"))
    state = json.loads(run.auto.read_text())
    assert (run.steps / state["winner"]).is_dir()
    assert state["ranked"] == [{"backbone": "embedded", "weights": "embedded"}]
    assert state["seconds"] > 0
    assert (run.steps / "rank/ranking.json").is_file()
    assert (run.steps / "check/check.json").is_file()


def test_auto_complete_run_is_returned_and_other_recipe_or_folder_raises(
    made: tuple[RunDirectory, Decoded, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    run, _, result = made
    folder = ImageFolder.scan(colours)
    before = run.report.stat().st_mtime_ns
    again = auto(TrainingRequest(folder, run, offline=True), AutoRecipe())
    assert again.was_complete
    assert again.metrics == result.metrics
    assert run.report.stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"--time-budget is 10m there and 1m here"):
        auto(TrainingRequest(folder, run, offline=True), AutoRecipe(seconds=60))
    with pytest.raises(RunError, match=f"holds another run: the folder is {colours} there and {tmp_path} here"):
        auto(TrainingRequest(replace(folder, source=tmp_path), run, offline=True), AutoRecipe())


def interrupted_before_test(run: RunDirectory, place: Path) -> RunDirectory:
    """Return a copy of a run as it was just before the final test: the steps are done, and the model is selected."""
    interrupted = RunDirectory(Path(shutil.copytree(run.path, place)))
    for path in (interrupted.metrics, interrupted.report, interrupted.features, interrupted.predictions("test")):
        path.unlink(missing_ok=True)
    shutil.rmtree(interrupted.model)
    interrupted.recipe.write_text(AutoRecipe().to_toml())
    return interrupted


def change_state(run: RunDirectory, **facts: Any) -> None:
    """Change values in auto.json."""
    run.auto.write_text(json.dumps({**json.loads(run.auto.read_text()), **facts}))


def recording_completed(patch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that gets, per training from now on, whether it was complete before."""
    done: list[bool] = []

    def remember(method: Any) -> Any:
        def call(*words: Any, **options: Any) -> TrainingResult:
            result: TrainingResult = method(*words, **options)
            done.append(result.was_complete)
            return result

        return call

    for name in ("extract", "finetune"):
        patch.setattr(search, name, remember(getattr(search, name)))
    return done


def test_auto_interrupted_neither_ranks_nor_trains_again(
    made: tuple[RunDirectory, Decoded, TrainingResult],
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _, result = made
    interrupted = interrupted_before_test(run, tmp_path / "run")
    change_state(interrupted, winner="", seconds=500.0)
    done = recording_completed(monkeypatch)
    monkeypatch.delattr(search, "rank")
    again = auto(TrainingRequest(ImageFolder.scan(colours), interrupted, offline=True), AutoRecipe())
    assert done == [True, True]
    assert again.metrics == result.metrics
    # The time of the earlier command counts.
    assert json.loads(interrupted.auto.read_text())["seconds"] > 500


def test_auto_interrupted_keeps_the_time_spent(
    made: tuple[RunDirectory, Decoded, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    interrupted = interrupted_before_test(made[0], tmp_path / "run")
    shutil.rmtree(interrupted.steps / "finetune-embedded")
    shutil.rmtree(interrupted.steps / "ensemble")
    change_state(interrupted, winner="", seconds=599.0)
    auto(TrainingRequest(ImageFolder.scan(colours), interrupted, offline=True), AutoRecipe())
    assert not (interrupted.steps / "finetune-embedded").exists()
    assert json.loads(interrupted.auto.read_text())["winner"] == "extract-embedded"


def test_auto_killed_before_metrics_continues_with_the_test(
    made: tuple[RunDirectory, Decoded, TrainingResult],
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _, result = made
    interrupted = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    interrupted.metrics.unlink()
    interrupted.report.unlink()
    assert interrupted.read_recipe()["method"] != "auto"
    done = recording_completed(monkeypatch)
    again = auto(TrainingRequest(ImageFolder.scan(colours), interrupted, offline=True), AutoRecipe())
    assert again.metrics == result.metrics
    # The model was selected before test was used, and is not selected again.
    assert done == []
    assert interrupted.report.is_file()


@pytest.mark.parametrize("recipe_is_there", [True, False])
def test_auto_killed_before_report_only_writes_it(
    recipe_is_there: bool,
    made: tuple[RunDirectory, Decoded, TrainingResult],
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _, result = made
    interrupted = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))
    interrupted.report.unlink()
    if not recipe_is_there:
        interrupted.recipe.write_text(AutoRecipe().to_toml())
    monkeypatch.delattr(making, "FinalTest")
    written: list[Path] = []
    monkeypatch.setattr(making, "report", lambda run, **_: written.append(run.directory.report))
    again = auto(TrainingRequest(ImageFolder.scan(colours), interrupted, offline=True), AutoRecipe())
    assert again.metrics == result.metrics
    assert not again.was_complete
    assert written == [interrupted.report]
    assert interrupted.recipe.read_bytes() == run.recipe.read_bytes()
    assert [event["event"] for event in interrupted.read_events()].count("test") == 1


def test_recipe_of_a_step_reproduces_the_split(
    made: tuple[RunDirectory, Decoded, TrainingResult], colours: Path
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


def test_auto_below_min_accuracy_writes_no_model(
    made: tuple[RunDirectory, Decoded, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    run = interrupted_before_test(made[0], tmp_path / "run")
    # Make the classifiers wrong by rolling their columns.
    for table in run.steps.glob("*/model/linear.npz"):
        from tests.hostile_files import reseal
        from transfer_cli.classifiers.linear import Linear

        linear = Linear.load(table)
        Linear(np.roll(linear.kernel, 1, axis=1), np.roll(linear.bias, 1), linear.activation).save(table)
        reseal(table.parent)
    with pytest.raises(GateError, match="No model was written"):
        auto(TrainingRequest(ImageFolder.scan(colours), run, min_accuracy=0.9, offline=True), AutoRecipe())
    assert not run.model.exists()
    assert run.read_metrics()["test"]["accuracy"]["value"] < 0.9
    # Without the minimum the same run is completed, with the same model.
    winner = json.loads(run.auto.read_text())["winner"]
    assert (
        auto(TrainingRequest(ImageFolder.scan(colours), run, offline=True), AutoRecipe()).metrics["test"]["accuracy"][
            "value"
        ]
        < 0.9
    )
    assert json.loads(run.auto.read_text())["winner"] == winner


class RecordedProgress:
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.warned: list[str] = []
        self.noted: list[str] = []

    def note(self, text: str) -> None:
        self.noted.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def track(self, what: str, total: int | None) -> Any:
        return SILENT.track(what, total)


def test_final_test_leaves_out_classes_without_training_images(
    made: tuple[RunDirectory, Decoded, TrainingResult], colours: Path, tmp_path: Path
) -> None:
    """A class without training images sorts before the others: the columns of these must not move."""
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
    surveyed = Survey(Split(rows, 0, "digest"), tuple(range(len(rows))), (gone,))
    place, progress = RunDirectory(tmp_path / "run"), RecordedProgress()
    place.claim(AutoRecipe(), photos)
    name = json.loads(run.auto.read_text())["winner"]
    step = RunDirectory(run.steps / name)
    winner = TrainingResult(step, step.read_metrics(), (), "")
    again = FinalTest(TrainingRequest(folder, place, progress=progress), surveyed, winner).run()
    assert again.metrics == result.metrics
    assert place.predictions("test").read_bytes() == run.predictions("test").read_bytes()
    left_out = {item.path: item.reason for item in read_skipped(place.skipped)}
    assert {*left_out} == {"amber/0.png", "amber/1.png", gone.path}
    assert left_out["amber/0.png"] == "no training image of amber could be read"
    assert [*again.skipped] == [*read_skipped(place.skipped)]
    assert any("2 test images are left out: no training image of amber" in line for line in progress.warned)


def test_select_without_val_returns_the_best_of_the_ranking(
    made: tuple[RunDirectory, Decoded, TrainingResult], tmp_path: Path
) -> None:
    """Without val nothing shows that a later model is better."""
    run = RunDirectory(Path(shutil.copytree(made[0].path, tmp_path / "run")))
    progress = RecordedProgress()
    split = Split.read(run.split)
    none = replace(split, rows=tuple(row if row.part == "test" else replace(row, part="train") for row in split.rows))
    folder = ImageFolder.scan(Path(run.folder.read_text().strip()))
    request = TrainingRequest(folder, run, progress=progress)
    names = ["extract-embedded", "extract-mobilenet", "finetune-embedded", "finetune-mobilenet"]
    for parts, reason in (
        (none, "no training image can be held out"),
        (split, "no validation image can be read"),
    ):
        survey = Survey(parts, tuple(range(len(parts.rows))), ())
        status = AutoProgress(request, AutoState(AutoRecipe().model_dump(mode="json")))
        search_of_run = search.ModelSearch(request, AutoRecipe(), survey, status)
        for name in names:
            step = RunDirectory(tmp_path / name)
            step.path.mkdir(exist_ok=True)
            none.write(step.split)
            out_of_fold = {"val": {"accuracy": exact_value(0.5)}} if name.startswith("extract") else {}
            search_of_run._trained[name] = TrainingResult(step, out_of_fold, (), "")
        assert (
            search_of_run._select([Candidate("embedded", "embedded"), Candidate("mobilenet", "imagenet")]) == names[0]
        )
        assert reason in progress.noted[-1]
        assert "(out-of-fold accuracy 0.500)" in progress.noted[-1]


def test_score_text_names_its_metric() -> None:
    row = CandidateScore(Candidate("embedded", "embedded"), accuracy=exact_value(0.25))
    assert search._score_text(row) == "embedded accuracy 0.250"
    assert search._score_text(replace(row, mean_average_precision=0.75)) == "embedded mean average precision 0.750"
    assert (
        headline({"accuracy": exact_value(0.25), "mean_average_precision": exact_value(0.75)})
        == "mean average precision 0.750"
    )
    assert headline({}) == ""


@pytest.mark.parametrize("few", [30, 3])
def test_write_split_creates_val_and_warns_if_it_is_small(
    few: int, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, progress = ImageFolder.scan(colours), RecordedProgress()
    rows = [
        SplitRow(file.path, hashlib.sha256((colours / file.path).read_bytes()).hexdigest(), file.labels, "train")
        for file in folder.files
    ]
    rows[::4] = [replace(row, part="test") for row in rows[::4]]
    run = RunDirectory(tmp_path / "run")
    request = TrainingRequest(folder, run, split=Split(tuple(rows), 0, "split.csv"), progress=progress)
    run.path.mkdir()
    monkeypatch.setattr(making, "_MIN_VAL_IMAGES", few)
    making._Auto(request, AutoRecipe(), AutoState(AutoRecipe().model_dump(mode="json")))._write_split()
    counts = Split.read(run.split).counts()
    assert counts["test"] == 9
    assert 3 <= counts["val"] < 30
    assert any(f"only {counts['val']} validation images" in line for line in progress.warned) == (few == 30)
