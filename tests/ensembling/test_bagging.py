"""Bagging: the bootstrap samples, out-of-bag predictions, and shared feature extraction."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from tests.conftest import TINY, TINY_SIZE
from tests.finetuning import WORDS, rows_of, weights_of
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, bagged, load
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.image_batches import batches
from transfer_cli.data.split import Split
from transfer_cli.ensembling import bagging
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.fit_combination import combine_available
from transfer_cli.ensembling.members import Members
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import (
    GateError,
    InputError,
    RecipeError,
    RunConflictError,
    RunError,
    TransferError,
    UnknownNameError,
)
from transfer_cli.features import table
from transfer_cli.features.shared_extraction import ExtractedFolder, SharedExtraction
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.inference.ensemble_model import weighted_mean
from transfer_cli.io.cache import Cache
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.lock import LOCK_FILE
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.training.extract import extract
from transfer_cli.training.finetune import finetune

pytestmark = pytest.mark.integration

BAGS = 3


def recipe_of(*overrides: str, kind: type[Recipe] = ExtractRecipe, **words: Any) -> Any:
    source = words.pop("source", None)
    return kind.load(source, overrides, {**WORDS, **words})


def bag(folder: Path, run: Path, *overrides: str, bags: int = BAGS, **options: Any) -> TrainingResult:
    return bagged(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), **options), recipe_of(*overrides), bags)


@pytest.fixture(scope="module")
def three(colours: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bagged run without a validation set."""
    run = tmp_path_factory.mktemp("bagged") / "three"
    bag(colours, run, f"backbone.weights={weights}")
    return run


def test_bagged_members_are_runs_with_the_same_split(three: Path) -> None:
    splits = {(three / f"bags/{number:02}/split.csv").read_bytes() for number in range(1, BAGS + 1)}
    assert splits == {(three / "split.csv").read_bytes()}
    recipes = [RunDirectory(three).bag(number).read_recipe() for number in range(1, BAGS + 1)]
    assert [each.pop("bag") for each in recipes] == [1, 2, 3]
    assert recipes[0] == recipes[1] == recipes[2]
    bundle = ModelBundle.open(three).bundle
    assert (bundle.kind, bundle.combination, len(bundle.members)) == ("ensemble", "average", BAGS)


def test_extract_recipe_of_a_bag_reproduces_the_member(three: Path, colours: Path, tmp_path: Path) -> None:
    for number in (2, 3):
        recipe = ExtractRecipe.load(str(three / f"bags/{number:02}/recipe.toml"))
        extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / str(number))), recipe)
    tables = [path / "predictions_val.csv" for path in (tmp_path / "2", three / "bags/02", tmp_path / "3")]
    alone, within, other = (path.read_text() for path in tables)
    assert alone == within
    assert alone != other  # another bag leaves out other images


def out_of_bag_paths(three: Path) -> list[set[str]]:
    return [{row["path"] for row in rows_of(three / f"bags/{n:02}/predictions_val.csv")} for n in range(1, BAGS + 1)]


def test_bagged_members_predict_only_images_outside_their_bag(three: Path) -> None:
    digest = {row.path: row.sha256 for row in Split.read(three / "split.csv").rows}
    train = {row.path for row in Split.read(three / "split.csv").rows if row.part == "train"}
    paths_of_members = out_of_bag_paths(three)
    for number, paths in enumerate(paths_of_members, start=1):
        images = training_images_of(str(three / f"bags/{number:02}"))
        assert images is not None
        left_out = {path for path in train if images.roles_of([digest[path]]) == ("val",)}
        assert paths == left_out
        assert paths
        assert all(images.roles_of([digest[path]]) == ("train",) for path in train - paths)
    assert len({frozenset(paths) for paths in paths_of_members}) == BAGS


def test_out_of_bag_is_the_mean_of_members_not_trained_on_the_image(three: Path) -> None:
    members = Members.read([three / f"bags/{number:02}" for number in range(1, BAGS + 1)])
    part = members.out_of_bag()
    assert members.are_bags
    assert part is not None
    assert not members.has_held_out_predictions
    assert members.predictions("val") is None
    paths = [members.split.rows[row].path for row in part.rows]
    assert set(paths) == set.union(*out_of_bag_paths(three))
    joined = combine_available("average", part.probabilities)
    for place, path in enumerate(paths):
        knew = [number for number, paths_of in enumerate(out_of_bag_paths(three)) if path in paths_of]
        rows = [
            next(row for row in rows_of(three / f"bags/{number + 1:02}/predictions_val.csv") if row["path"] == path)
            for number in knew
        ]
        mean = np.mean([[float(row[f"p_{name}"]) for name in members.split.class_names] for row in rows], axis=0)
        np.testing.assert_allclose(joined[place], mean, atol=1e-6)
    assert {len([n for n, paths_of in enumerate(out_of_bag_paths(three)) if path in paths_of]) for path in paths} >= {
        1,
        2,
    }
    metrics = json.loads((three / "metrics.json").read_text())
    assert metrics["val"]["images"]["value"] == len(paths)


def test_out_of_bag_with_in_bag_predictions_would_differ(three: Path) -> None:
    """Counter-check: the mean over all members differs from the out-of-bag mean."""
    members = Members.read([three / f"bags/{number:02}" for number in range(1, BAGS + 1)])
    part = members.out_of_bag()
    assert part is not None
    spoilt = np.where(np.isnan(part.probabilities), np.float32(0.9), part.probabilities)
    assert np.abs(combine_available("average", part.probabilities) - weighted_mean(spoilt, [1, 1, 1])).max() > 0.01


@pytest.mark.parametrize("limit", [None, 0])
def test_bagged_extract_runs_each_image_through_the_network_once(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    assert passes(colours, tmp_path / "shared", monkeypatch, limit) == 36

    def forgetful(request: Any, recipe: Any, shared: SharedExtraction) -> Any:
        return extract(request, recipe, SharedExtraction())

    monkeypatch.setattr(bagging, "extract", forgetful)
    # Counter-check: each bag extracts on its own; only the cache saves forward passes.
    assert passes(colours, tmp_path / "apart", monkeypatch, limit) == (36 if limit is None else 2 * 36)


def passes(folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None) -> int:
    """Return the number of images that the network is run on while the bags are trained."""
    seen = Counter[str]()
    call = CompiledNetwork.__call__

    def counted(self: CompiledNetwork, batch: Any) -> Any:
        seen["images"] += len(batch)
        return call(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(CompiledNetwork, "__call__", counted)
        patch.setattr(
            bagging, "ensemble", lambda *members, **options: None
        )  # it would measure the speed of the members
        bag(folder, run, bags=2, cache=Cache(run.parent / f"cache {run.name}", 10**9 if limit is None else limit))
    return seen["images"]


def test_bagged_members_share_one_network(three: Path) -> None:
    files = [three / f"model/member-{number:02}/backbone.keras" for number in range(1, BAGS + 1)]
    assert len({path.read_bytes() for path in files}) == 1
    assert len({path.stat().st_ino for path in files}) == 1
    model = load(str(three))
    assert len({id(member.network) for member in model.members}) == 1  # type: ignore[attr-defined]


def test_bagged_model_predicts_the_mean_of_its_members(three: Path, colours: Path) -> None:
    model = load(str(three))
    paths = sorted(map(str, colours.rglob("*.png")))
    batch = next(batches(paths, size=TINY_SIZE, resize="squash", batch_size=40))
    given = np.stack([load(str(three / f"bags/{n:02}")).predict_proba(batch.images) for n in range(1, BAGS + 1)])
    together = model.predict_proba(batch.images)
    assert (together.argmax(axis=1) == given.mean(axis=0).argmax(axis=1)).all()


def test_bagged_complete_run_is_not_changed(three: Path, colours: Path, weights: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in three.rglob("*") if path.is_file()}
    result = bag(colours, three, f"backbone.weights={weights}")
    assert result.was_complete
    assert result.val_note == "out-of-bag"
    assert {path: path.stat().st_mtime_ns for path in three.rglob("*") if path.is_file()} == before


def test_bagged_interrupted_continues_with_the_current_bag(
    three: Path, colours: Path, weights: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "stopped")
    folder, recipe = ImageFolder.scan(colours), recipe_of(f"backbone.weights={weights}")

    def killed(*words: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer_cli.calibration.fit.fit", _after(1, killed))
        with pytest.raises(KeyboardInterrupt):
            bagged(TrainingRequest(folder, run), recipe, BAGS)
    assert run.bag(1).metrics.is_file()
    assert run.bag(2).recipe.is_file()
    assert not run.bag(2).metrics.is_file()
    with pytest.raises(RunError, match="it is a run of ensemble"):
        extract(TrainingRequest(folder, run), recipe)  # hours of training are not lost because --bags was forgotten
    made = run.bag(1).metrics.stat().st_mtime_ns
    bagged(TrainingRequest(folder, run), recipe, BAGS)
    assert run.bag(1).metrics.stat().st_mtime_ns == made
    for name in ("predictions_val.csv", "predictions_test.csv"):
        assert (run.path / name).read_text() == (three / name).read_text()
    assert len({path.read_bytes() for path in run.model.glob("member-*/backbone.keras")}) == 1


def killed_while_overwriting(run: RunDirectory, folder: ImageFolder, recipe: Any, bags: int) -> None:
    def killed(*words: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer_cli.calibration.fit.fit", _after(1, killed))
        with pytest.raises(KeyboardInterrupt):
            bagged(TrainingRequest(folder, run, overwrite=True), recipe, bags)


def test_bagged_interrupted_overwrite_continues(three: Path, colours: Path, weights: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(three, tmp_path / "copy")))
    # With another recipe, so that no earlier model or bag can be mistaken for a new one.
    folder, recipe = ImageFolder.scan(colours), recipe_of(f"backbone.weights={weights}", "classifier.tune=false")
    killed_while_overwriting(run, folder, recipe, 2)
    assert len(ModelBundle.open(run.path).bundle.members) == 3  # the earlier model stays in use meanwhile
    assert not run.bag(3).path.exists()
    first = run.bag(1).metrics.stat().st_mtime_ns
    killed_while_overwriting(run, folder, recipe, 2)  # starts again
    second = run.bag(1).metrics.stat().st_mtime_ns
    assert second > first
    result = bagged(TrainingRequest(folder, run), recipe, 2)
    assert run.bag(1).metrics.stat().st_mtime_ns == second
    assert len(ModelBundle.open(result.run.path).bundle.members) == 2
    assert run.split.read_bytes() == (three / "split.csv").read_bytes()


def test_bagged_overwrite_with_damaged_weights_keeps_the_earlier_run(
    three: Path, colours: Path, tmp_path: Path
) -> None:
    run = RunDirectory(Path(shutil.copytree(three, tmp_path / "copy")))
    missing = tmp_path / "missing.weights.h5"
    missing.write_bytes(b"no weights")
    before = {path for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(TransferError):
        bagged(
            TrainingRequest(ImageFolder.scan(colours), run, overwrite=True), recipe_of(f"backbone.weights={missing}"), 2
        )
    assert {path for path in run.path.rglob("*") if path.is_file()} == before


def test_bagged_overwrite_of_a_locked_run_raises_and_removes_nothing(
    three: Path, colours: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(three, tmp_path / "copy"))
    with FileLock(run / LOCK_FILE), pytest.raises(RunError, match="Another process is writing the run"):
        bag(colours, run, overwrite=True)
    assert all((run / f"bags/0{number}/model/bundle.json").is_file() for number in range(1, BAGS + 1))


def test_check_free_moved_run_is_recognised_by_digest(
    three: Path, colours: Path, weights: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(three, tmp_path / "elsewhere"))
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(run))
    average = EnsembleRecipe(ensemble=EnsembleOptions(method="average"))
    bagging._check_free(request, average, BAGS)
    # Counter-check: a bag with another digest.
    shutil.rmtree(run / "bags/02")
    shutil.copytree(run / "bags/01", run / "bags/02")
    with pytest.raises(RunError, match="whose members are not the bags"):
        bagging._check_free(request, average, BAGS)


def test_reuse_network_of_requires_equal_features(three: Path, tmp_path: Path) -> None:
    earlier, split = RunDirectory(three).bag(1), Split.read(three / "split.csv")
    found = []
    for change in (0.0, 0.1):
        path = tmp_path / f"{change}.parquet"
        table.write(path, split, table.read(earlier.features) + np.float32(change))
        shared = SharedExtraction(earlier)
        shared.extracted = ExtractedFolder(split, (), np.arange(len(split.rows)), path)
        shared.reuse_network_of(earlier)
        found.append(shared.model)
    assert found == [earlier.model, None]


def _after(calls: int, then: Any) -> Any:
    from transfer_cli.calibration import fit as trust

    fit, done = trust.fit, Counter[str]()

    def fitted(*words: Any, **more: Any) -> Any:
        done["calls"] += 1
        return then() if done["calls"] > calls else fit(*words, **more)

    return fitted


def test_bagged_other_number_of_bags_raises_before_training(three: Path, colours: Path, weights: Path) -> None:
    with pytest.raises(RunError, match=r"holds another run: bags= is 3 there and 4 here"):
        bag(colours, three, f"backbone.weights={weights}", bags=4)
    assert not (three / "bags/04").exists()


def test_bagged_in_a_run_of_extract_raises(trained: Path, colours: Path) -> None:
    with pytest.raises(RunError, match="it is a run of extract"):
        bag(colours, trained)
    assert not (trained / "bags").exists()


def test_extract_overwrite_removes_the_bags(three: Path, colours: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(three, tmp_path / "copy"))
    extract(TrainingRequest(ImageFolder.scan(colours), RunDirectory(run), overwrite=True), recipe_of())
    assert not (run / "bags").exists()


def test_bagged_min_accuracy_applies_to_the_ensemble(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(GateError):
        bag(colours, run, "split.test=0.3", bags=2, min_accuracy=1.0)
    assert (run / "bags/02/model").is_dir()
    assert (run / "metrics.json").is_file()
    assert not (run / "model").exists()
    assert bag(colours, run, "split.test=0.3", bags=2).run.model.is_dir()


def test_bagged_invalid_recipe_or_options_raise(colours: Path, tmp_path: Path) -> None:
    folder, run = ImageFolder.scan(colours), RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match=r"2 to 50 bags. Received: 1"):
        bagged(TrainingRequest(folder, run), recipe_of(), 1)
    with pytest.raises(RecipeError, match="that of a single bag"):
        bagged(TrainingRequest(folder, run), recipe_of("bag=2"), 2)
    with pytest.raises(InputError, match="this run trains none"):
        bagged(TrainingRequest(folder, run), recipe_of("classifier.name=none"), 2)
    with pytest.raises(RecipeError, match="unlabelled"):
        bagged(TrainingRequest(folder, run), recipe_of(f"unlabelled.folder={tmp_path}", kind=FinetuneRecipe), 2)
    with pytest.raises(RecipeError, match=r"(?s)The time budget leaves .* for each of 2 bags.*too small"):
        bagged(TrainingRequest(folder, run, time_budget=4.0), recipe_of(kind=FinetuneRecipe), 2)
    assert not run.path.exists()


@pytest.fixture(scope="module")
def of_networks(colours: Path, two_stages: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("bagged") / "networks"
    words = (
        f"backbone.weights={weights}",
        "split.val=0.2",
        "refit.when=always",
        "stage.1.epochs=1",
        "stage.2.epochs=1",
    )
    bagged(
        TrainingRequest(ImageFolder.scan(colours), RunDirectory(run)),
        recipe_of(f"backbone.weights={weights}", *words, kind=FinetuneRecipe, source=str(two_stages)),
        2,
    )
    return run


def test_bagged_finetune_combines_the_members(of_networks: Path) -> None:
    metrics = json.loads((of_networks / "metrics.json").read_text())
    assert {"val", "test"} <= metrics.keys()
    one, two = (rows_of(of_networks / f"bags/0{number}/predictions_test.csv") for number in (1, 2))
    both = rows_of(of_networks / "predictions_test.csv")
    assert [row["path"] for row in one] == [row["path"] for row in both]
    assert one != two


@pytest.mark.slow
def test_finetune_recipe_of_a_bag_reproduces_the_member(of_networks: Path, colours: Path, tmp_path: Path) -> None:
    recipe = FinetuneRecipe.load(str(of_networks / "bags/02/recipe.toml"))
    finetune(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "alone")), recipe)
    alone, within, other = (
        weights_of(path) for path in (tmp_path / "alone", of_networks / "bags/02", of_networks / "bags/01")
    )
    for one, two in zip(alone.values(), within.values(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(alone.values(), other.values(), strict=True))


def test_training_images_of_a_bag_are_those_of_its_sample_and_val(of_networks: Path) -> None:
    rows = Split.read(of_networks / "split.csv").rows
    roles = TrainingImages.load(of_networks / "bags/01/model/training_images.npz").roles_of(
        [row.sha256 for row in rows]
    )
    by_part = {(row.part, role) for row, role in zip(rows, roles, strict=True)}
    # It was refitted on val; its bag left out some training images.
    assert by_part == {("train", "train"), ("train", "unseen"), ("val", "train"), ("test", "unseen")}


def test_words_use_the_tiny_network() -> None:
    assert (WORDS["backbone.name"], WORDS["images.size"]) == (TINY, TINY_SIZE)


@pytest.mark.parametrize("method", ["vote", "stack"])
def test_bagged_method_combines_the_members_as_an_ensemble_of_them(
    method: str, colours: Path, weights: Path, tmp_path: Path
) -> None:
    run, words = tmp_path / "run", (f"backbone.weights={weights}", "split.val=0.3")
    folder, recipe = ImageFolder.scan(colours), recipe_of(*words)
    result = bagged(TrainingRequest(folder, RunDirectory(run)), recipe, 2, method)
    assert ModelBundle.open(run).bundle.combination == method
    paths, alone = [run / "bags/01", run / "bags/02"], RunDirectory(tmp_path / "ensemble")
    ensemble(EnsembleRequest(paths, alone), EnsembleRecipe(ensemble=EnsembleOptions(method=method)))
    assert rows_of(run / "predictions_test.csv") == rows_of(alone.path / "predictions_test.csv")
    again = bagged(TrainingRequest(folder, RunDirectory(run)), recipe, 2, method)
    assert (again.was_complete, again.metrics) == (True, result.metrics)
    with pytest.raises(RunConflictError, match=f"method= is {method} there and average here"):
        bagged(TrainingRequest(folder, RunDirectory(run)), recipe, 2)
    bagged(TrainingRequest(folder, RunDirectory(run), overwrite=True), recipe, 2)
    assert ModelBundle.open(run).bundle.combination == "average"


def test_out_of_bag_vote_is_of_members_not_trained_on_the_image(three: Path, colours: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(three, tmp_path / "copy")))
    shutil.rmtree(run.model)
    run.metrics.unlink()
    recipe = ExtractRecipe.load(str(three / "bags/01/recipe.toml")).model_copy(update={"bag": None})
    result = bagged(TrainingRequest(ImageFolder.scan(colours), run), recipe, BAGS, "vote")
    assert result.val_note == "out-of-bag"
    part = Members.read([run.bag(number).path for number in range(1, BAGS + 1)]).out_of_bag()
    assert part is not None
    votes = combine_available("vote", part.probabilities).argmax(axis=1)
    assert result.metrics["val"]["accuracy"]["value"] == pytest.approx((votes == part.truth).mean())


def test_bagged_method_that_cannot_be_used_raises_before_training(colours: Path, tmp_path: Path) -> None:
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / "run"))
    with pytest.raises(InputError, match="there is no validation set"):
        bagged(request, recipe_of(), 2, "stack")
    with pytest.raises(InputError, match="extract trains none"):
        bagged(request, recipe_of(), 2, "soup")
    with pytest.raises(UnknownNameError, match="ensemble method"):
        bagged(request, recipe_of(), 2, "votes")
    several = TrainingRequest(replace(request.folder, task="multi-label"), request.run)
    with pytest.raises(InputError, match="several labels per image"):
        bagged(several, recipe_of(), 2, "vote")
    assert not request.run.path.exists()


def test_bagged_finetune_can_be_one_network(of_networks: Path, tmp_path: Path) -> None:
    run = tmp_path / "soup"
    members = [of_networks / "bags/01", of_networks / "bags/02"]
    ensemble(EnsembleRequest(members, RunDirectory(run)), EnsembleRecipe(ensemble=EnsembleOptions(method="soup")))
    assert ModelBundle.open(run).bundle.kind == "network"
