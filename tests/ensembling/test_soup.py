"""Soups: one network with the mean of the weights, chosen and scored by pictures that it has not learnt from."""

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
    evaluate,
    extract,
    load,
    report,
)
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data import decoding
from transfer_cli.ensembling import soup
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.errors import GateError, InputError, TransferError
from transfer_cli.models.weight_averaging import greedy, mean_of, mean_temperature
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.runs.request import TrainingResult

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


class Said:
    """A progress whose notes can be read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(self, description: str, total: int | None) -> Any:
        from transfer_cli.progress import SILENT

        return SILENT.track(description, total)

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note


def cook(*runs: Path, into: Path, **options: Any) -> TrainingResult:
    return ensemble(runs, EnsembleRecipe(ensemble=EnsembleOptions(method="soup")), RunDirectory(into), **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soups")


@pytest.fixture(scope="module")
def members(colours: Path, weights: Path, place: Path) -> tuple[Path, Path]:
    """Return two runs that began as one network."""
    recipe = place / "one-stage.toml"
    recipe.write_text(ONE_STAGE)
    words = (f"backbone.weights={weights}", "split.val=0.25")
    run_on(colours, place / "a", *words, source=str(recipe))
    run_on(colours, place / "b", *words, "stage.1.learning_rate=1e-4", "seed=1", source=str(recipe))
    return place / "a", place / "b"


@pytest.fixture(scope="module")
def made(members: tuple[Path, Path], place: Path) -> tuple[Path, list[str]]:
    """Return the soup of both, and what was said of it."""
    said = Said()
    cook(*members, into=place / "soup", progress=said)
    return place / "soup", said.lines


def answers_of(run: Path, colours: Path) -> Any:
    paths = sorted(map(str, colours.rglob("*.png")))
    batch = next(decoding.batches(paths, size=TINY_SIZE, resize="squash", batch_size=len(paths)))
    return load(str(run)).predict_proba(batch.images)


def test_weights_are_the_mean(members: tuple[Path, Path], made: tuple[Path, list[str]]) -> None:
    one, two, both = (np.concatenate([w.ravel() for w in weights_of(run).values()]) for run in (*members, made[0]))
    assert [row["weight"] for row in json.loads((made[0] / "members.json").read_text())["rows"]] == [0.5, 0.5]
    assert np.abs(one - two).max() > 1e-4
    mean = (one.astype(np.float64) + two) / 2
    assert np.abs(both - mean).max() <= 1e-6
    assert np.abs(both - one).max() > 5e-5  # the twin: a member is not the mean


def test_the_sum_is_exact_where_float32_is_not() -> None:
    rows = np.array([[1e8], [1.0], [-1e8]], np.float32)
    assert mean_of(rows, [0, 1, 2]) == np.float32(1 / 3)
    assert rows.sum() / 3 != np.float32(1 / 3)


def test_a_run_and_its_copy_are_the_run(members: tuple[Path, Path], colours: Path, tmp_path: Path) -> None:
    shutil.copytree(members[0], tmp_path / "copy")
    cook(members[0], tmp_path / "copy", into=tmp_path / "soup")
    given, expected = answers_of(tmp_path / "soup", colours), answers_of(members[0], colours)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    np.testing.assert_allclose(
        [float(row["confidence"]) for row in rows_of(tmp_path / "soup/predictions_test.csv")],
        [float(row["confidence"]) for row in rows_of(members[0] / "predictions_test.csv")],
        atol=1e-5,
    )


def test_a_copy_that_was_altered_is_found_out(members: tuple[Path, Path], colours: Path, tmp_path: Path) -> None:
    """The twin: were the weights summed wrongly, the answers would not be the run's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soup, "mean_of", lambda weights, chosen: mean_of(weights, chosen) * np.float32(0.9))
        shutil.copytree(members[0], tmp_path / "copy")
        cook(members[0], tmp_path / "copy", into=tmp_path / "soup")
    assert np.abs(answers_of(tmp_path / "soup", colours) - answers_of(members[0], colours)).max() > 1e-3


def test_it_is_a_run_like_any_other(made: tuple[Path, list[str]], colours: Path, tmp_path: Path) -> None:
    run = made[0]
    opened = ModelBundle.open(run)
    files = {"network.keras", "linear.npz", "graph.tflite", "learnt.npz", "rejection.npz", "MODEL_CARD.md"}
    assert files - {"graph.tflite"} <= opened.bundle.files.keys()  # the members were made to run on Keras
    assert (opened.bundle.kind, opened.members, opened.bundle.recipe["method"]) == ("network", (), "ensemble")
    assert "mean of several" in (run / "model/MODEL_CARD.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"val", "test"} <= metrics.keys()
    found = evaluate(str(run), ImageFolder.scan(colours), output=EvaluationDirectory(tmp_path / "evaluation"))
    assert found.learnt > 0
    report(FinishedRun.read(run))
    assert (run / "report.html").is_file()
    assert answers_of(run, colours).shape == (36, 3)


def test_it_is_compared_with_its_members(made: tuple[Path, list[str]]) -> None:
    facts = json.loads((made[0] / "members.json").read_text())
    assert [row["name"] for row in facts["rows"]] == ["a", "b"]
    alone = [row["cost"]["megabytes"] for row in facts["rows"]]
    assert facts["cost"]["megabytes"] < 1.2 * max(alone) < sum(alone)


def test_it_says_which_soup_was_taken(made: tuple[Path, list[str]]) -> None:
    (line,) = [line for line in made[1] if line.startswith("val accuracy: the best alone")]
    assert "taken: the " in line
    (event,) = [event for event in RunDirectory(made[0]).logged() if event["event"] == "soup"]
    best = max(event["uniform"], event["greedy"]["score"])
    assert event["taken"] == ("uniform" if event["uniform"] == best else "greedy")


def test_a_complete_soup_is_left_alone(members: tuple[Path, Path], made: tuple[Path, list[str]]) -> None:
    before = (made[0] / "metrics.json").stat().st_mtime_ns
    result = cook(*members, into=made[0])
    assert result.was_complete
    assert result.val_note == "the soup was chosen on it"
    assert (made[0] / "metrics.json").stat().st_mtime_ns == before


def test_it_is_as_sure_as_its_members_are_on_average() -> None:
    assert mean_temperature([2.0, 8.0]) == pytest.approx(4)
    assert mean_temperature([None, 4.0]) == pytest.approx(2)
    assert mean_temperature([None, None]) is None


def test_a_greedy_soup_takes_what_does_not_harm() -> None:
    worth = {(2,): 0.8, (2, 0): 0.7, (2, 1): 0.8, (2, 1, 3): 0.9}
    assert greedy([2, 0, 1, 3], worth.__getitem__).members == (2, 1, 3)
    assert greedy([2, 0], worth.__getitem__).members == (2,)


@pytest.fixture(scope="module")
def refitted(colours: Path, weights: Path, members: tuple[Path, Path], place: Path) -> Path:
    words = (f"backbone.weights={weights}", "split.val=0.25", "refit.when=always", "stage.1.epochs=1")
    run_on(colours, place / "r", *words, source=str(place / "one-stage.toml"))
    return place / "r"


def test_members_that_learnt_from_val_are_not_scored_on_it(
    members: tuple[Path, Path], refitted: Path, tmp_path: Path
) -> None:
    said = Said()
    result = cook(members[0], refitted, into=tmp_path / "soup", progress=said)
    assert result.metrics.keys() == {"test"}
    assert not (tmp_path / "soup/predictions_val.csv").exists()
    assert any("r learnt from val in the end" in line for line in said.lines)
    bundles = [ModelBundle.open(run).bundle for run in (members[0], refitted, tmp_path / "soup")]
    one, two, own = (bundle.temperature for bundle in bundles)
    assert own == mean_temperature([one, two])
    assert "rejection.npz" not in bundles[2].files
    rows = ImageRows(members[0])
    said_of = TrainingImages.load(tmp_path / "soup/model/learnt.npz").say(rows.digests)
    assert {said for said, part in zip(said_of, rows.parts, strict=True) if part == "val"} == {"yes"}


class ImageRows:
    def __init__(self, run: Path) -> None:
        rows = rows_of(run / "split.csv")
        self.digests, self.parts = [row["sha256"] for row in rows], [row["part"] for row in rows]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("backbone.pooling=max", r"backbone.pooling is avg and max"),
        pytest.param("images.size=48", r"images.size is 32 and 48", marks=pytest.mark.slow),
    ],
)
def test_other_networks_are_refused(
    colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path, word: str, said: str
) -> None:
    words = (f"backbone.weights={weights}", "split.val=0.25", "stage.1.epochs=1", word)
    run_on(colours, tmp_path / "other", *words, source=str(members[0].parent / "one-stage.toml"))
    with pytest.raises(InputError, match=said):
        cook(members[0], tmp_path / "other", into=tmp_path / "soup")
    assert not (tmp_path / "soup").exists()


def test_another_head_is_refused(colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path) -> None:
    words = (f"backbone.weights={weights}", "split.val=0.25", "stage.1.epochs=1", "head.kind=mlp", "head.units=8")
    run_on(colours, tmp_path / "other", *words, source=str(members[0].parent / "one-stage.toml"))
    with pytest.raises(InputError, match=r"(layers|layer .* is a)"):
        cook(members[0], tmp_path / "other", into=tmp_path / "soup")


def test_extract_is_refused_and_told_what_to_type(
    colours: Path, weights: Path, members: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe = ExtractRecipe.load(
        None,
        [f"backbone.weights={weights}", "backbone.name=mobilenet@0.25", "images.size=32", "split.val=0.25"],
    )
    extract(ImageFolder.scan(colours), recipe, RunDirectory(tmp_path / "e"))
    with pytest.raises(TransferError, match="e is a run of extract") as caught:
        cook(members[0], tmp_path / "e", into=tmp_path / "soup")
    assert caught.value.exit_code == 3
    assert "--method average" in str(caught.value.hint)


def test_the_bar_is_for_the_soup(members: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Random answers cannot reach it.
        patch.setattr(soup, "mean_of", lambda weights, chosen: mean_of(weights, chosen) * np.float32(0))
        with pytest.raises(GateError):
            cook(*members, into=tmp_path / "soup", min_accuracy=0.99)
    assert not (tmp_path / "soup/model").exists()


def test_pictures_that_are_gone_are_missed(colours: Path, members: tuple[Path, Path], tmp_path: Path) -> None:
    moved = Path(shutil.copytree(colours, tmp_path / "moved"))
    spoilt = sorted(moved.rglob("*.png"))[0]
    spoilt.unlink()
    with pytest.raises(InputError, match=r"1 of 36 pictures are not in .*moved"):
        cook(*members, into=tmp_path / "soup", images=moved)
    # All of them are there, two under each other's names.
    other = sorted(moved.rglob("*.png"))[-1]
    other.replace(spoilt)
    shutil.copyfile(colours / spoilt.relative_to(moved), other)
    with pytest.raises(InputError, match="2 of 36 pictures cannot be read or are other ones"):
        cook(*members, into=tmp_path / "soup", images=moved)
    for path in (spoilt, other):
        shutil.copyfile(colours / path.relative_to(moved), path)
    result = cook(*members, into=tmp_path / "soup", images=moved)
    assert not result.was_complete
    assert network_of(tmp_path / "soup") is not None
