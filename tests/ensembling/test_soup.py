"""Model soups: mean weights, selection on val, and incompatible members."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY_SIZE
from tests.finetuning import network_of, rows_of, run_on, weights_of
from transfer_cli import (
    EvaluationDirectory,
    ExtractRecipe,
    FinishedRun,
    ImageFolder,
    RunDirectory,
    TrainingRequest,
    evaluate,
    load,
    report,
)
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.image_batches import batches
from transfer_cli.ensembling import soup
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import GateError, InputError, TransferError
from transfer_cli.models.weight_averaging import greedy, mean_of, mean_temperature
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.runs.request import TrainingResult
from transfer_cli.training.extract import extract

pytestmark = pytest.mark.integration

ONE_STAGE = """
method = "finetune"

[refit]
when = "never"

[[stage]]
unfreeze = "from:conv_dw_13"
epochs = 2
learning_rate = 3e-4
optimizer = "adam"
"""


class RecordedProgress:
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(self, description: str, total: int | None) -> Any:
        from transfer_cli.progress import SILENT

        return SILENT.track(description, total)

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note


def build_soup(*runs: Path, into: Path, **options: Any) -> TrainingResult:
    return ensemble(
        EnsembleRequest(runs, RunDirectory(into), **options), EnsembleRecipe(ensemble=EnsembleOptions(method="soup"))
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soups")


@pytest.fixture(scope="module")
def members(colours: Path, weights: Path, place: Path) -> tuple[Path, Path]:
    """Return two runs that started from the same network."""
    recipe = place / "one-stage.toml"
    recipe.write_text(ONE_STAGE)
    words = (f"backbone.weights={weights}", "split.val=0.25")
    run_on(colours, place / "a", *words, source=str(recipe))
    run_on(colours, place / "b", *words, "stage.1.learning_rate=1e-4", "seed=1", source=str(recipe))
    return place / "a", place / "b"


@pytest.fixture(scope="module")
def made(members: tuple[Path, Path], place: Path) -> tuple[Path, list[str]]:
    """Return the soup of both runs, and the messages."""
    progress = RecordedProgress()
    build_soup(*members, into=place / "soup", progress=progress)
    return place / "soup", progress.lines


def predict_all(run: Path, colours: Path) -> Any:
    paths = sorted(map(str, colours.rglob("*.png")))
    batch = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths)))
    return load(str(run)).predict_proba(batch.images)


def test_soup_weights_are_the_mean_of_the_members(members: tuple[Path, Path], made: tuple[Path, list[str]]) -> None:
    one, two, both = (np.concatenate([w.ravel() for w in weights_of(run).values()]) for run in (*members, made[0]))
    assert [row["weight"] for row in json.loads((made[0] / "members.json").read_text())["rows"]] == [0.5, 0.5]
    assert np.abs(one - two).max() > 1e-4
    mean = (one.astype(np.float64) + two) / 2
    assert np.abs(both - mean).max() <= 1e-6
    assert np.abs(both - one).max() > 5e-5  # counter-check: a member is not the mean


def test_mean_of_sums_in_float64() -> None:
    rows = np.array([[1e8], [1.0], [-1e8]], np.float32)
    assert mean_of(rows, [0, 1, 2]) == np.float32(1 / 3)
    assert rows.sum() / 3 != np.float32(1 / 3)


def test_soup_of_a_run_and_its_copy_predicts_as_the_run(
    members: tuple[Path, Path], colours: Path, tmp_path: Path
) -> None:
    shutil.copytree(members[0], tmp_path / "copy")
    build_soup(members[0], tmp_path / "copy", into=tmp_path / "soup")
    given, expected = predict_all(tmp_path / "soup", colours), predict_all(members[0], colours)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    np.testing.assert_allclose(
        [float(row["confidence"]) for row in rows_of(tmp_path / "soup/predictions_test.csv")],
        [float(row["confidence"]) for row in rows_of(members[0] / "predictions_test.csv")],
        atol=1e-5,
    )


def test_soup_with_wrong_mean_predicts_differently(members: tuple[Path, Path], colours: Path, tmp_path: Path) -> None:
    """Counter-check: with wrongly averaged weights the predictions would differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soup, "mean_of", lambda weights, chosen: mean_of(weights, chosen) * np.float32(0.9))
        shutil.copytree(members[0], tmp_path / "copy")
        build_soup(members[0], tmp_path / "copy", into=tmp_path / "soup")
    assert np.abs(predict_all(tmp_path / "soup", colours) - predict_all(members[0], colours)).max() > 1e-3


def test_soup_is_a_run_like_any_other(made: tuple[Path, list[str]], colours: Path, tmp_path: Path) -> None:
    run = made[0]
    opened = ModelBundle.open(run)
    files = {"network.keras", "linear.npz", "graph.tflite", "training_images.npz", "rejection.npz", "MODEL_CARD.md"}
    assert files - {"graph.tflite"} <= opened.bundle.files.keys()  # the members use Keras as runtime
    assert (opened.bundle.kind, opened.members, opened.bundle.recipe["method"]) == ("network", (), "ensemble")
    assert "mean of several" in (run / "model/MODEL_CARD.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val", "test"} <= metrics.keys()
    found = evaluate(str(run), ImageFolder.scan(colours), output=EvaluationDirectory(tmp_path / "evaluation"))
    assert found.trained_on > 0
    report(FinishedRun.read(run))
    assert (run / "report.html").is_file()
    assert predict_all(run, colours).shape == (36, 3)


def test_soup_costs_as_much_as_one_member(made: tuple[Path, list[str]]) -> None:
    facts = json.loads((made[0] / "members.json").read_text())
    assert [row["name"] for row in facts["rows"]] == ["a", "b"]
    alone = [row["cost"]["megabytes"] for row in facts["rows"]]
    assert facts["cost"]["megabytes"] < 1.2 * max(alone) < sum(alone)


def test_soup_reports_the_selected_soup(made: tuple[Path, list[str]]) -> None:
    (line,) = [line for line in made[1] if line.startswith("val accuracy: best member")]
    assert "selected: the " in line
    (event,) = [event for event in RunDirectory(made[0]).read_events() if event["event"] == "soup"]
    best = max(event["uniform"], event["greedy"]["score"])
    assert event["selected"] == ("uniform" if event["uniform"] == best else "greedy")


def test_soup_complete_run_is_not_changed(members: tuple[Path, Path], made: tuple[Path, list[str]]) -> None:
    before = (made[0] / "metrics.json").stat().st_mtime_ns
    result = build_soup(*members, into=made[0])
    assert result.was_complete
    assert result.val_note == "the soup was selected on it"
    assert (made[0] / "metrics.json").stat().st_mtime_ns == before


def test_mean_temperature_is_geometric() -> None:
    assert mean_temperature([2.0, 8.0]) == pytest.approx(4)
    assert mean_temperature([None, 4.0]) == pytest.approx(2)
    assert mean_temperature([None, None]) is None


def test_greedy_adds_members_that_do_not_lower_the_score() -> None:
    worth = {(2,): 0.8, (2, 0): 0.7, (2, 1): 0.8, (2, 1, 3): 0.9}
    assert greedy([2, 0, 1, 3], worth.__getitem__).members == (2, 1, 3)
    assert greedy([2, 0], worth.__getitem__).members == (2,)


@pytest.fixture(scope="module")
def refitted(colours: Path, weights: Path, members: tuple[Path, Path], place: Path) -> Path:
    words = (f"backbone.weights={weights}", "split.val=0.25", "refit.when=always", "stage.1.epochs=1")
    run_on(colours, place / "r", *words, source=str(place / "one-stage.toml"))
    return place / "r"


def test_soup_of_members_refitted_on_val_has_no_val_metrics(
    members: tuple[Path, Path], refitted: Path, tmp_path: Path
) -> None:
    progress = RecordedProgress()
    result = build_soup(members[0], refitted, into=tmp_path / "soup", progress=progress)
    assert result.metrics.keys() == {"test"}
    assert not (tmp_path / "soup/predictions_val.csv").exists()
    assert any("refitted on it (r)" in line for line in progress.lines)
    bundles = [ModelBundle.open(run).bundle for run in (members[0], refitted, tmp_path / "soup")]
    one, two, own = (bundle.temperature for bundle in bundles)
    assert own == mean_temperature([one, two])
    assert "rejection.npz" not in bundles[2].files
    rows = ImageRows(members[0])
    roles = TrainingImages.load(tmp_path / "soup/model/training_images.npz").roles_of(rows.digests)
    assert {role for role, part in zip(roles, rows.parts, strict=True) if part == "val"} == {"train"}


class ImageRows:
    def __init__(self, run: Path) -> None:
        rows = rows_of(run / "split.csv")
        self.digests, self.parts = [row["sha256"] for row in rows], [row["split"] for row in rows]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("backbone.pooling=max", r"backbone.pooling is avg and max"),
        pytest.param("images.size=48", r"images.size is 32 and 48", marks=pytest.mark.slow),
    ],
)
def test_soup_of_different_backbones_raises(
    colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path, setting: str, message: str
) -> None:
    words = (f"backbone.weights={weights}", "split.val=0.25", "stage.1.epochs=1", setting)
    run_on(colours, tmp_path / "other", *words, source=str(members[0].parent / "one-stage.toml"))
    with pytest.raises(InputError, match=message):
        build_soup(members[0], tmp_path / "other", into=tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


def test_soup_of_different_heads_raises(
    colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path
) -> None:
    words = (f"backbone.weights={weights}", "split.val=0.25", "stage.1.epochs=1", "head.kind=mlp", "head.units=8")
    run_on(colours, tmp_path / "other", *words, source=str(members[0].parent / "one-stage.toml"))
    with pytest.raises(InputError, match=r"(layers|layer .* is a)"):
        build_soup(members[0], tmp_path / "other", into=tmp_path / "soup")


def test_soup_of_an_extract_run_raises_with_command(
    colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe = ExtractRecipe.load(
        None,
        [f"backbone.weights={weights}", "backbone.name=mobilenet@0.25", "images.size=32", "split.val=0.25"],
    )
    extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "e")), recipe)
    with pytest.raises(TransferError, match="e is a run of extract") as caught:
        build_soup(members[0], tmp_path / "e", into=tmp_path / "soup")
    assert caught.value.exit_code == 3
    assert "--method average" in str(caught.value.hint)


def test_soup_below_min_accuracy_raises_and_writes_no_model(members: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Random predictions cannot reach it.
        patch.setattr(soup, "mean_of", lambda weights, chosen: mean_of(weights, chosen) * np.float32(0))
        with pytest.raises(GateError):
            build_soup(*members, into=tmp_path / "soup", min_accuracy=0.99)
    assert not (tmp_path / "soup/model").exists()


def test_soup_with_missing_or_changed_images_raises(colours: Path, members: tuple[Path, Path], tmp_path: Path) -> None:
    moved = Path(shutil.copytree(colours, tmp_path / "moved"))
    spoilt = sorted(moved.rglob("*.png"))[0]
    spoilt.unlink()
    with pytest.raises(InputError, match=r"1 of 36 images are missing in .*moved"):
        build_soup(*members, into=tmp_path / "soup", images=moved)
    # All images exist, but two have swapped names.
    other = sorted(moved.rglob("*.png"))[-1]
    other.replace(spoilt)
    shutil.copyfile(colours / spoilt.relative_to(moved), other)
    with pytest.raises(InputError, match="2 of 36 images cannot be read, or have changed"):
        build_soup(*members, into=tmp_path / "soup", images=moved)
    for path in (spoilt, other):
        shutil.copyfile(colours / path.relative_to(moved), path)
    result = build_soup(*members, into=tmp_path / "soup", images=moved)
    assert not result.was_complete
    assert network_of(tmp_path / "soup") is not None
