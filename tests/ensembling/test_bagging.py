"""Bags: what each learns from, what it is asked about, and that all of them cost one pass."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from tests.finetuning import WORDS, rows_of, weights_of
from transfer_cli import ExtractRecipe, FinetuneRecipe, ImageFolder, RunDirectory, bagged, extract, finetune, load
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data import decoding
from transfer_cli.data.bootstrap import drawn
from transfer_cli.data.split import Split
from transfer_cli.ensembling import bagging
from transfer_cli.ensembling.fit_combination import of_those_who_know
from transfer_cli.ensembling.members import Members
from transfer_cli.errors import GateError, InputError, ModelError, RecipeError, RunError, TransferError
from transfer_cli.features import table
from transfer_cli.features.shared_extraction import Seen, SharedExtraction
from transfer_cli.inference.combine import weighted_mean
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.io.cache import Cache
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.recipe.recipes import Recipe
from transfer_cli.runs.evaluation_directory import training_images_of
from transfer_cli.runs.request import TrainingRequest, TrainingResult

BAGS = 3


def recipe_of(*overrides: str, kind: type[Recipe] = ExtractRecipe, **words: Any) -> Any:
    source = words.pop("source", None)
    return kind.load(source, overrides, {**WORDS, **words})


def bag(folder: Path, run: Path, *overrides: str, bags: int = BAGS, **options: Any) -> TrainingResult:
    return bagged(ImageFolder.scan(folder), recipe_of(*overrides), RunDirectory(run), bags, **options)


@pytest.fixture(scope="module")
def three(colours: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bagged run without a val part."""
    run = tmp_path_factory.mktemp("bagged") / "three"
    bag(colours, run, f"backbone.weights={weights}")
    return run


def test_a_bag_holds_as_many_pictures_some_of_them_several_times() -> None:
    truth, assign_group_ids = np.arange(200) % 4, np.arange(200)
    rows = drawn(1, 0, truth, assign_group_ids)
    assert len(rows) == 200
    assert 0.55 < len(np.unique(rows)) / 200 < 0.72  # 1 - 1/e are expected
    assert rows.tolist() == drawn(1, 0, truth, assign_group_ids).tolist()
    assert (
        rows.tolist() != drawn(2, 0, truth, assign_group_ids).tolist() != drawn(2, 1, truth, assign_group_ids).tolist()
    )


def test_every_class_is_in_every_bag() -> None:
    # Nine of ten pictures are of the first class: by chance alone a rare one is left out of every third bag.
    truth = np.repeat([0, 1, 2], [28, 1, 1])
    for number in range(1, 41):
        rows = drawn(number, 0, truth, np.arange(30))
        assert set(truth[rows]) == {0, 1, 2}
        assert len(rows) == 30
    of_chance = [set(truth[np.random.default_rng(number).integers(0, 30, 30)]) for number in range(40)]
    assert any(classes != {0, 1, 2} for classes in of_chance)


def test_every_label_is_in_every_bag() -> None:
    truth = np.zeros((30, 3), np.int64)
    truth[:28, 0], truth[28, 1], truth[29, 2] = 1, 1, 1
    assert all(truth[drawn(number, 0, truth, np.arange(30))].any(axis=0).all() for number in range(1, 41))


def test_relatives_are_drawn_together() -> None:
    truth, assign_group_ids = np.zeros(40, np.int64), np.repeat(np.arange(10), 4)
    for number in range(1, 11):
        counts = np.bincount(drawn(number, 0, truth, assign_group_ids), minlength=40).reshape(10, 4)
        assert (counts == counts[:, :1]).all()
    alone = np.bincount(drawn(1, 0, truth, np.arange(40)), minlength=40).reshape(10, 4)
    assert (alone != alone[:, :1]).any()


def test_members_are_runs_of_their_own_on_one_split(three: Path) -> None:
    splits = {(three / f"bags/{number:02}/split.csv").read_bytes() for number in range(1, BAGS + 1)}
    assert splits == {(three / "split.csv").read_bytes()}
    said = [RunDirectory(three).bag(number).read_recipe() for number in range(1, BAGS + 1)]
    assert [each.pop("bag") for each in said] == [1, 2, 3]
    assert said[0] == said[1] == said[2]
    bundle = ModelBundle.open(three).bundle
    assert (bundle.kind, bundle.combination, len(bundle.members)) == ("ensemble", "average", BAGS)


def test_a_member_made_alone_by_its_recipe_is_the_same(three: Path, colours: Path, tmp_path: Path) -> None:
    for number in (2, 3):
        recipe = ExtractRecipe.load(str(three / f"bags/{number:02}/recipe.toml"))
        extract(ImageFolder.scan(colours), recipe, RunDirectory(tmp_path / str(number)))
    tables = [path / "predictions_val.csv" for path in (tmp_path / "2", three / "bags/02", tmp_path / "3")]
    alone, within, other = (path.read_text() for path in tables)
    assert alone == within
    assert alone != other  # another bag is asked about other pictures


def judged_on(three: Path) -> list[set[str]]:
    return [{row["path"] for row in rows_of(three / f"bags/{n:02}/predictions_val.csv")} for n in range(1, BAGS + 1)]


def test_no_member_is_asked_about_what_it_learnt_from(three: Path) -> None:
    digest = {row.path: row.sha256 for row in Split.read(three / "split.csv").rows}
    train = {row.path for row in Split.read(three / "split.csv").rows if row.part == "train"}
    request = judged_on(three)
    for number, paths in enumerate(request, start=1):
        said = training_images_of(str(three / f"bags/{number:02}"))
        assert said is not None
        left_out = {path for path in train if said.say([digest[path]]) == ("chosen",)}
        assert paths == left_out
        assert paths
        assert all(said.say([digest[path]]) == ("yes",) for path in train - paths)
    assert len({frozenset(paths) for paths in request}) == BAGS


def test_out_of_bag_is_the_mean_of_those_who_had_not_learnt_from_it(three: Path) -> None:
    members = Members.read([three / f"bags/{number:02}" for number in range(1, BAGS + 1)])
    part = members.out_of_bag()
    assert members.are_bags
    assert part is not None
    assert not members.has_held_out
    assert members.part("val") is None
    paths = [members.split.rows[row].path for row in part.rows]
    assert set(paths) == set.union(*judged_on(three))
    joined = of_those_who_know("average", part.given)
    for place, path in enumerate(paths):
        knew = [number for number, request in enumerate(judged_on(three)) if path in request]
        rows = [
            next(row for row in rows_of(three / f"bags/{number + 1:02}/predictions_val.csv") if row["path"] == path)
            for number in knew
        ]
        mean = np.mean([[float(row[f"p_{name}"]) for name in members.split.class_names] for row in rows], axis=0)
        np.testing.assert_allclose(joined[place], mean, atol=1e-6)
    assert {len([n for n, request in enumerate(judged_on(three)) if path in request]) for path in paths} >= {1, 2}
    metrics = json.loads((three / "metrics.json").read_text())
    assert metrics["val"]["images"]["value"] == len(paths)


def test_answers_of_those_who_learnt_from_it_would_be_found_out(three: Path) -> None:
    """The twin: the mean over all members is not what is reported as out-of-bag."""
    members = Members.read([three / f"bags/{number:02}" for number in range(1, BAGS + 1)])
    part = members.out_of_bag()
    assert part is not None
    spoilt = np.where(np.isnan(part.given), np.float32(0.9), part.given)
    assert np.abs(of_those_who_know("average", part.given) - weighted_mean(spoilt, [1, 1, 1])).max() > 0.01


@pytest.mark.parametrize("limit", [None, 0])
def test_each_picture_goes_through_the_network_once(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    assert passes(colours, tmp_path / "shared", monkeypatch, limit) == 36

    def forgetful(request: Any, recipe: Any, shared: SharedExtraction) -> Any:
        return learn(request, recipe, SharedExtraction())

    learn = bagging.extract.learn
    monkeypatch.setattr(bagging.extract, "learn", forgetful)
    # The twin: each bag on its own. The cache saves it from the network, where there is one.
    assert passes(colours, tmp_path / "apart", monkeypatch, limit) == (36 if limit is None else 2 * 36)


def passes(folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None) -> int:
    """Return how many pictures the network is run on while bags are made."""
    seen = Counter[str]()
    call = CompiledNetwork.__call__

    def counted(self: CompiledNetwork, batch: Any) -> Any:
        seen["images"] += len(batch)
        return call(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(CompiledNetwork, "__call__", counted)
        patch.setattr(bagging, "ensemble", lambda *members, **options: None)  # it measures what a picture takes
        bag(folder, run, bags=2, cache=Cache(run.parent / f"cache {run.name}", 10**9 if limit is None else limit))
    return seen["images"]


def test_members_have_one_network(three: Path) -> None:
    files = [three / f"model/member-{number:02}/backbone.keras" for number in range(1, BAGS + 1)]
    assert len({path.read_bytes() for path in files}) == 1
    assert len({path.stat().st_ino for path in files}) == 1
    ensemble = load(str(three))
    assert len({id(member.network) for member in ensemble.members}) == 1  # type: ignore[attr-defined]


def test_the_run_says_what_its_members_say(three: Path, colours: Path) -> None:
    model = load(str(three))
    paths = sorted(map(str, colours.rglob("*.png")))
    batch = next(decoding.batches(paths, size=TINY_SIZE, resize="squash", batch_size=40))
    given = np.stack([load(str(three / f"bags/{n:02}")).predict_proba(batch.images) for n in range(1, BAGS + 1)])
    together = model.predict_proba(batch.images)
    assert (together.argmax(axis=1) == given.mean(axis=0).argmax(axis=1)).all()


def test_a_complete_run_is_left_alone(three: Path, colours: Path, weights: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in three.rglob("*") if path.is_file()}
    result = bag(colours, three, f"backbone.weights={weights}")
    assert result.was_complete
    assert result.val_note == "out-of-bag"
    assert {path: path.stat().st_mtime_ns for path in three.rglob("*") if path.is_file()} == before


def test_a_stopped_one_goes_on_with_the_bag_it_was_at(
    three: Path, colours: Path, weights: Path, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "stopped")
    folder, recipe = ImageFolder.scan(colours), recipe_of(f"backbone.weights={weights}")

    def killed(*words: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transfer_cli.calibration.fit.fit", _after(1, killed))
        with pytest.raises(KeyboardInterrupt):
            bagged(folder, recipe, run, BAGS)
    assert run.bag(1).metrics.is_file()
    assert run.bag(2).recipe.is_file()
    assert not run.bag(2).metrics.is_file()
    with pytest.raises(RunError, match="it is a run of ensemble"):
        extract(folder, recipe, run)  # what took hours is not given up for a word that was forgotten
    made = run.bag(1).metrics.stat().st_mtime_ns
    bagged(folder, recipe, run, BAGS)
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
            bagged(folder, recipe, run, bags, overwrite=True)


def test_one_that_is_made_anew_and_stopped_goes_on(three: Path, colours: Path, weights: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(three, tmp_path / "copy")))
    # Of another recipe, so that neither the model nor a bag that was there could be taken for what is made.
    folder, recipe = ImageFolder.scan(colours), recipe_of(f"backbone.weights={weights}", "classifier.tune=false")
    killed_while_overwriting(run, folder, recipe, 2)
    with pytest.raises(ModelError, match="a run without a model: it was not finished"):
        load(str(run.path))
    assert not run.bag(3).path.exists()
    first = run.bag(1).metrics.stat().st_mtime_ns
    killed_while_overwriting(run, folder, recipe, 2)  # begins anew
    second = run.bag(1).metrics.stat().st_mtime_ns
    assert second > first
    result = bagged(folder, recipe, run, 2)
    assert run.bag(1).metrics.stat().st_mtime_ns == second
    assert len(ModelBundle.open(result.run.path).bundle.members) == 2
    assert run.split.read_bytes() == (three / "split.csv").read_bytes()


def test_nothing_is_given_up_where_no_bag_can_begin(three: Path, colours: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(three, tmp_path / "copy")))
    missing = tmp_path / "missing.weights.h5"
    missing.write_bytes(b"no weights")
    before = {path for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(TransferError):
        bagged(ImageFolder.scan(colours), recipe_of(f"backbone.weights={missing}"), run, 2, overwrite=True)
    assert {path for path in run.path.rglob("*") if path.is_file()} == before


def test_nothing_is_removed_while_another_process_writes_it(three: Path, colours: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(three, tmp_path / "copy"))
    handle = os.open(run, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RunError, match="Another process is writing the run"):
        bag(colours, run, overwrite=True)
    os.close(handle)
    assert all((run / f"bags/0{number}/model/bundle.json").is_file() for number in range(1, BAGS + 1))


def test_a_run_that_was_moved_is_the_same(three: Path, colours: Path, weights: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(three, tmp_path / "elsewhere"))
    request = TrainingRequest(ImageFolder.scan(colours), RunDirectory(run))
    joining = EnsembleRecipe(ensemble=EnsembleOptions(method="average"))
    bagging._must_be_free(request, joining, BAGS)
    # The twin: a bag that is another one.
    shutil.rmtree(run / "bags/02")
    shutil.copytree(run / "bags/01", run / "bags/02")
    with pytest.raises(RunError, match="other members than the bags"):
        bagging._must_be_free(request, joining, BAGS)


def test_a_network_of_other_features_is_not_taken_over(three: Path, tmp_path: Path) -> None:
    earlier, split = RunDirectory(three).bag(1), Split.read(three / "split.csv")
    found = []
    for change in (0.0, 0.1):
        path = tmp_path / f"{change}.parquet"
        table.write(path, split, table.read(earlier.features) + np.float32(change))
        shared = SharedExtraction(earlier)
        shared.seen = Seen(split, (), np.arange(len(split.rows)), path)
        shared.go_on_from(earlier)
        found.append(shared.model)
    assert found == [earlier.model, None]


def _after(calls: int, then: Any) -> Any:
    from transfer_cli.calibration import fit as trust

    fit, done = trust.fit, Counter[str]()

    def fitted(*words: Any, **more: Any) -> Any:
        done["calls"] += 1
        return then() if done["calls"] > calls else fit(*words, **more)

    return fitted


def test_another_number_of_bags_is_refused_before_any_is_trained(three: Path, colours: Path, weights: Path) -> None:
    with pytest.raises(RunError, match=r"holds an ensemble of 3 members. Received: 4 bags"):
        bag(colours, three, f"backbone.weights={weights}", bags=4)
    assert not (three / "bags/04").exists()


def test_a_run_of_another_kind_is_not_touched(trained: Path, colours: Path) -> None:
    with pytest.raises(RunError, match="it is a run of extract"):
        bag(colours, trained)
    assert not (trained / "bags").exists()


def test_overwriting_removes_the_bags(three: Path, colours: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(three, tmp_path / "copy"))
    extract(ImageFolder.scan(colours), recipe_of(), RunDirectory(run), overwrite=True)
    assert not (run / "bags").exists()


def test_the_bar_is_for_all_together(colours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(GateError):
        bag(colours, run, "split.test=0.3", bags=2, min_accuracy=1.0)
    assert (run / "bags/02/model").is_dir()
    assert (run / "metrics.json").is_file()
    assert not (run / "model").exists()
    assert bag(colours, run, "split.test=0.3", bags=2).run.model.is_dir()


def test_what_does_not_fit_is_said(colours: Path, tmp_path: Path) -> None:
    folder, run = ImageFolder.scan(colours), RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match=r"2 to 50 bags. Received: 1"):
        bagged(folder, recipe_of(), run, 1)
    with pytest.raises(RecipeError, match="of one bag already"):
        bagged(folder, recipe_of("bag=2"), run, 2)
    with pytest.raises(InputError, match="this run makes none"):
        bagged(folder, recipe_of("classifier.name=none"), run, 2)
    with pytest.raises(RecipeError, match="unlabelled"):
        bagged(folder, recipe_of(f"unlabelled.folder={tmp_path}", kind=FinetuneRecipe), run, 2)
    with pytest.raises(RecipeError, match=r"(?s)Each of 2 bags has .*too little"):
        bagged(folder, recipe_of(kind=FinetuneRecipe), run, 2, time_budget=4.0)
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
        ImageFolder.scan(colours),
        recipe_of(f"backbone.weights={weights}", *words, kind=FinetuneRecipe, source=str(two_stages)),
        RunDirectory(run),
        2,
    )
    return run


def test_fine_tuned_members_are_joined(of_networks: Path) -> None:
    metrics = json.loads((of_networks / "metrics.json").read_text())
    assert {"val", "test"} <= metrics.keys()
    one, two = (rows_of(of_networks / f"bags/0{number}/predictions_test.csv") for number in (1, 2))
    both = rows_of(of_networks / "predictions_test.csv")
    assert [row["path"] for row in one] == [row["path"] for row in both]
    assert one != two


@pytest.mark.slow
def test_a_fine_tuned_member_made_alone_is_the_same(of_networks: Path, colours: Path, tmp_path: Path) -> None:
    recipe = FinetuneRecipe.load(str(of_networks / "bags/02/recipe.toml"))
    finetune(ImageFolder.scan(colours), recipe, RunDirectory(tmp_path / "alone"))
    alone, within, other = (
        weights_of(path) for path in (tmp_path / "alone", of_networks / "bags/02", of_networks / "bags/01")
    )
    for one, two in zip(alone.values(), within.values(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(alone.values(), other.values(), strict=True))


def test_a_network_says_which_pictures_its_bag_held(of_networks: Path) -> None:
    rows = Split.read(of_networks / "split.csv").rows
    learnt = TrainingImages.load(of_networks / "bags/01/model/learnt.npz").say([row.sha256 for row in rows])
    by_part = {(row.part, said) for row, said in zip(rows, learnt, strict=True)}
    # It was refitted on val; of train it left some out.
    assert by_part == {("train", "yes"), ("train", "no"), ("val", "yes"), ("test", "no")}


def test_the_tiny_network_is_the_one_of_these_tests() -> None:
    assert (WORDS["backbone.name"], WORDS["images.size"]) == (TINY, TINY_SIZE)
