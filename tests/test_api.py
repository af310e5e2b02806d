"""Trainings are functions with the options of the commands as keyword arguments; nothing is printed."""

from __future__ import annotations

import inspect
import pydoc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pytest

import transfer_cli
from tests.conftest import TINY, TINY_SIZE
from tests.own_networks import functional, maps_of, save
from transfer_cli import ImageClassifier, ImageFolder, TrainedRun, TransferWarning, api, training_options
from transfer_cli.cli import auto, ensemble, extract, finetune
from transfer_cli.errors import (
    FolderError,
    GateError,
    InputError,
    RecipeError,
    RunError,
    TransferError,
    UnknownNameError,
)
from transfer_cli.progress import SILENT

COMMANDS: dict[str, tuple[click.Command, Callable[..., object]]] = {
    "extract": (extract.command, transfer_cli.extract),
    "finetune": (finetune.command, transfer_cli.finetune),
    "auto": (auto.command, transfer_cli.auto),
    "ensemble": (ensemble.command, transfer_cli.ensemble),
}
OF_THE_GROUP = {"progress", "offline", "quiet", "json", "max_image_memory"}
"""Keywords that are no option of the command itself, and general options that are no keyword."""
TINY_WORDS: dict[str, Any] = {"backbone": TINY, "weights": "none", "set": {"images.size": TINY_SIZE}}
RANDOM_WEIGHTS = pytest.mark.filterwarnings("ignore:the backbone has random weights")


def options_of(command: click.Command) -> set[str]:
    """Return the arguments and options of a command as they are typed."""
    # The first long name: --lr is also --learning-rate.
    typed = (next((name for name in each.opts if name.startswith("--")), each.opts[0]) for each in command.params)
    return {option.lstrip("-").replace("-", "_") for option in typed} - OF_THE_GROUP


def keywords_of(function: Callable[..., object]) -> set[str]:
    return {*inspect.signature(function).parameters} - OF_THE_GROUP


@pytest.mark.parametrize("name", COMMANDS)
def test_keywords_are_the_options_of_the_command(name: str) -> None:
    command, function = COMMANDS[name]
    assert keywords_of(function) == options_of(command)
    assert function is getattr(api, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_keyword_is_described(name: str) -> None:
    _, function = COMMANDS[name]
    text = f"{function.__doc__}{api.extract.__doc__}"
    assert [keyword for keyword in keywords_of(function) if keyword not in text] == []


def _may_be_none(hint: object) -> bool:
    # Types of the TypedDicts are objects, those in the signature are text.
    return hint.endswith("| None") if isinstance(hint, str) else type(None) in get_args(hint)


METHODS = [getattr(ImageClassifier, name) for name in ("predict", "evaluate", "explain", "export")]


@pytest.mark.parametrize("function", [*(function for _, function in COMMANDS.values()), *METHODS])
def test_defaults_fit_the_types(function: Callable[..., object]) -> None:
    parameters = inspect.signature(function).parameters.values()
    listed = [each for each in parameters if each.default is None]
    assert listed
    assert [each.name for each in listed if not _may_be_none(each.annotation)] == []


def test_help_has_no_addresses_of_objects() -> None:
    assert " object at 0x" not in pydoc.plain(pydoc.render_doc(transfer_cli))


def test_keywords_planted_option_is_found() -> None:
    option = click.Option(["--new-option"])
    assert options_of(click.Command("x", params=[option])) == {"new_option"}
    assert options_of(click.Command("x", params=[*extract.command.params, option])) != keywords_of(api.extract)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: api.extract(folder, backbonee="x"), TypeError, r"Did you mean backbone\?"),
        (lambda folder: api.extract(folder, seed="1"), TypeError, r"extract\(seed=\.\.\.\): expected int"),
        (lambda folder: api.extract(folder, min_accuracy=80), InputError, "less than or equal to 1"),
        (lambda folder: api.extract(folder, backbone="mobilenet_v22"), UnknownNameError, "mobilenet_v2"),
        (lambda folder: api.extract(folder, classifier="svm"), RecipeError, "classifier.name"),
        (lambda folder: api.extract(folder, recipe="defualt"), RecipeError, "quick, snow-leopard"),
        (lambda folder: api.extract(folder, set={"epochs": 3}), RecipeError, "epochs"),
        (lambda folder: api.extract(folder, set="epochs"), RecipeError, 'set={"SECTION.KEY": VALUE}'),
        (lambda folder: api.extract(folder, progress="yes"), TypeError, "progress=True"),
        (lambda folder: api.extract(folder / "nowhere"), FolderError, "There is no folder"),
        (lambda folder: api.extract(folder, bags=3, classifier="none"), InputError, "Bagging needs a classifier"),
        (lambda folder: api.finetune(folder, time_budget="soon"), InputError, "'soon' is not a time span"),
        (
            lambda folder: api.finetune(folder, plan=True, bags=2, time_budget=9),
            InputError,
            "cannot have a time budget",
        ),
        (lambda folder: api.auto(folder, among="nothing*"), UnknownNameError, "nothing"),
        (lambda folder: api.ensemble([folder, folder], output="x"), InputError, "Expected each run once"),
        (lambda folder: api.ensemble([folder, "x"], output="y"), RunError, "is not a run"),
        (lambda folder: api.ensemble(["a", "b"], output="x", max_ms=3), InputError, "limits of the method greedy"),
        (lambda folder: api.ensemble(["a", "b"], output="x", method="mean"), UnknownNameError, "mean"),
        (lambda folder: api.ensemble(["a", "b"]), RunError, "There is no run at a"),
    ],
)
def test_wrong_argument_is_a_public_error(
    call: Callable[[Path], object],
    error: type[Exception],
    message: str,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call(colours)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", [str, Path])
def test_backbone_is_a_path_of_each_kind(kind: Callable[[Path], Any], colours: Path, tmp_path: Path) -> None:
    file = kind(save(functional(maps_of), tmp_path))
    for keywords in (
        {"backbone": file, "preprocess": "inside"},
        {"set": {"backbone.name": file, "backbone.preprocess": "inside"}},
    ):
        job = training_options.extract_job(colours, keywords, [], SILENT)
        assert (job.recipe.backbone.name, job.request.run.path.name) == (str(tmp_path / "own.keras"), "colours-own")


def test_loaded_network_as_backbone_is_told_to_save_it(colours: Path) -> None:
    with pytest.raises(TypeError, match=r"expected str, os\.PathLike\[str\] or None\. Received: <Functional ") as error:
        api.extract(colours, backbone=functional(maps_of))
    assert str(error.value).endswith('network.save("mine.keras"), then pass backbone="mine.keras", preprocess=...')


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (
            lambda images, run: api.extract(images, output=run, **TINY_WORDS | {"set": {"batch_size": 8}}),
            r'set=\{"batch_size": \.\.\.\} is 32 there and 8 here',
            "Choose another place with output=RUN, or add overwrite=True to replace it.",
        ),
        (
            lambda images, run: api.extract(images, backbone="own.keras"),
            r"^Invalid settings \(1 error\):\n  backbone: own\.keras needs preprocess= \(backbone\.preprocess\)",
            None,
        ),
        (
            lambda images, run: api.extract(images, bags=3, classifier="none"),
            r'trains none \(classifier="none"\)\.',
            'Leave out bags=, or choose a classifier: classifier="logistic"',
        ),
        (
            lambda images, run: ImageClassifier.load(run).explain(images, method="occlusion", layer="a"),
            r'Received: layer="a"\.',
            "Remove layer=.",
        ),
        (
            lambda images, run: ImageClassifier.load(run).evaluate(images, output=run),
            "is not an evaluation",
            "Choose another place with output=DIR.",
        ),
        (
            lambda images, run: [*api.predict(run, images / "nowhere.jpg", strict=True)],
            "could not be read",
            "Omit strict=True to skip it.",
        ),
        (
            lambda images, run: transfer_cli.evaluate(run, ImageFolder.scan(images), run),
            "is not an evaluation",
            "Choose another place with output=DIR.",
        ),
    ],
)
def test_errors_name_keywords(
    call: Callable[[Path, Path], object],
    message: str,
    hint: str | None,
    colours: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TransferError, match=message) as caught:
        call(colours, trained)
    assert caught.value.hint == hint


def test_commands_share_the_single_steps_but_not_their_wording(trained: Path, colours: Path) -> None:
    from transfer_cli.evaluation.evaluate import evaluate

    assert transfer_cli.evaluate is transfer_cli.evaluate
    assert inspect.signature(transfer_cli.evaluate) == inspect.signature(evaluate)
    with pytest.raises(RunError) as caught:
        evaluate(trained, ImageFolder.scan(colours), trained)
    assert caught.value.hint == "Choose another place with -o DIR."


@pytest.mark.filterwarnings("default")
def test_warnings_name_keywords(colours: Path, tmp_path: Path) -> None:
    with pytest.warns(TransferWarning, match=r'the backbone has random weights \(weights="none"\)'):
        api.extract(colours, output=tmp_path / "run", **TINY_WORDS)


@RANDOM_WEIGHTS
def test_extract_is_the_command(
    colours: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = api.extract(str(colours), output=str(tmp_path / "run"), **TINY_WORDS)
    again = api.extract(ImageFolder.scan(colours), output=tmp_path / "run", **TINY_WORDS)
    assert capfd.readouterr() == ("", "")
    for file in ("recipe.toml", "folder.txt", "split.csv", "predictions_test.csv"):
        assert (run.path / file).read_bytes() == (trained / file).read_bytes()
    assert (run.was_complete, again.was_complete) == (False, True)
    accuracy = run.scores["test"]["accuracy"]
    assert accuracy.low is not None
    assert accuracy.low <= accuracy.value <= 1
    assert float(accuracy) == run.metrics["test"]["accuracy"]["value"]
    assert repr(run).startswith(f"<TrainedRun {tmp_path / 'run'}>\n  val accuracy ")
    assert "<th>metric</th>" in run._repr_html_()
    assert run.classifier.class_names == run.model.classes == ("blue", "green", "red")
    assert ImageClassifier.load(run).path == str(tmp_path / "run")
    words = (run.path / "command.txt").read_text().split()
    assert words[:3] == ["transfer-cli", "extract", str(colours)]
    with pytest.raises(RunError, match="holds another run"):
        api.extract(colours, output=run, seed=9, **TINY_WORDS)


@RANDOM_WEIGHTS
def test_gate_and_skipped_images(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "images"))
    (folder / "red" / "broken.png").write_bytes(b"no image")
    with pytest.warns(TransferWarning, match=r"skipped 1 image that could not be read: red/broken\.png"):
        run = api.extract(folder, output=tmp_path / "run", **TINY_WORDS)
    assert [item.path for item in run.skipped] == ["red/broken.png"]
    with pytest.raises(GateError):
        api.extract(
            colours,
            output=tmp_path / "gate",
            classifier="nearest-centroid",
            min_accuracy=1,
            **TINY_WORDS | {"set": {"images.size": TINY_SIZE, "classifier.tune": False, "backbone.pooling": "avg"}},
        )


@pytest.mark.integration
@RANDOM_WEIGHTS
def test_finetune_plan_bags_and_ensemble(colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = TINY_WORDS | {"set": {"images.size": TINY_SIZE, "stage.1.epochs": 1, "split.val": 0.2}}
    plan = api.finetune(colours, plan=True, output=tmp_path / "tuned", **words)
    assert plan.total_seconds > 0
    assert not (tmp_path / "tuned").exists()
    with pytest.warns(TransferWarning, match="few images: class blue has 5 training images"):
        tuned = api.finetune(colours, output=tmp_path / "tuned", **words)
    fast = api.extract(colours, output=tmp_path / "fast", split=tuned.path / "split.csv", **TINY_WORDS)
    both = api.ensemble([tuned, fast], output=tmp_path / "both", method="average")
    bags = api.extract(colours, output=tmp_path / "bags", bags=2, **TINY_WORDS)
    assert capfd.readouterr().out == ""
    for run in (tuned, fast, both, bags):
        assert isinstance(run, TrainedRun)
        assert run.classifier.predict(np.zeros((1, 20, 20, 3), np.uint8)).labels


@pytest.mark.parametrize("kind", [str, Path, transfer_cli.load, ImageClassifier.load])
def test_predict_takes_each_kind_of_model(kind: Callable[[Path], Any], trained: Path, colours: Path) -> None:
    batches = [*transfer_cli.predict(kind(trained), colours / "red", batch_size=5)]
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert {label for batch in batches for label in batch.labels} == {"red"}


def test_predict_warns_of_what_it_skips(trained: Path, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    paths = [tmp_path / "broken.jpg", *sorted((colours / "red").iterdir())[:2]]
    with pytest.warns(TransferWarning, match=r"skipped 1 image .*broken\.jpg"):
        (batch,) = transfer_cli.predict(trained, paths)
    assert (len(batch), [item.path for item in batch.skipped]) == (2, [str(tmp_path / "broken.jpg")])


def test_help_is_a_page() -> None:
    page = pydoc.plain(pydoc.render_doc(transfer_cli))
    start = page[: page.index("PACKAGE CONTENTS")]
    assert start.count("\n") < 45
    for name in (
        "ImageClassifier.load",
        "transfer_cli.extract",
        "predict",
        "to_pandas",
        "TransferError",
        "progress=True",
    ):
        assert name in start
    assert max(map(len, start.splitlines())) <= 124


def test_public_names_are_those_of_type_checkers() -> None:
    text = Path(transfer_cli.__file__).read_text()
    for name, module in transfer_cli._PUBLIC.items():
        assert f"    from {module} import {name} as {name}\n" in text
    assert text.count(" as ") >= len(transfer_cli.__all__)
    errors = vars(__import__("transfer_cli.errors").errors)
    public = {
        name for name, each in errors.items() if isinstance(each, type) and each.__module__ == "transfer_cli.errors"
    }
    assert public <= {*transfer_cli.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'exctract'"):
        transfer_cli.exctract  # noqa: B018
