"""Ensembles of finished runs: predictions, bundles, and incompatible members."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from transfer_cli import (
    EnsembleRequest,
    ExtractRecipe,
    ImageFolder,
    ModelBundle,
    RunDirectory,
    Split,
    TrainingRequest,
    load,
)
from transfer_cli.catalog import ensemble_methods
from transfer_cli.data.views import View
from transfer_cli.ensembling import ensemble as making
from transfer_cli.ensembling.ensemble import ensemble
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.ensembling.members import Members
from transfer_cli.errors import InputError, ModelError, RunError
from transfer_cli.inference import load as loading
from transfer_cli.inference.ensemble_model import EnsembleModel, majority, weighted_mean
from transfer_cli.inference.predict import predict
from transfer_cli.inference.reject import Rejector
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.run_of_model import training_images_of
from transfer_cli.training.extract import extract

pytestmark = pytest.mark.integration

APART = [name for name in ensemble_methods.names() if not ensemble_methods.find(name).single_network]
WORDS: dict[str, Any] = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE}


def join(runs: list[Path], target: Path, method: str = ensemble_methods.AVERAGE, **words: Any) -> Path:
    recipe = EnsembleRecipe(ensemble=EnsembleOptions(method=method, **words))
    return ensemble(EnsembleRequest(runs, RunDirectory(target)), recipe).run.path


def train(folder: Path, run: Path, split: Split | None = None, **words: Any) -> Path:
    recipe = ExtractRecipe.load(None, [], WORDS | words)
    extract(TrainingRequest(ImageFolder.scan(folder), RunDirectory(run), split=split), recipe)
    return run


def predict_part(run: Path, part: str = "test") -> np.ndarray:
    """Return the predictions of the model of a run for a part, in the order of its table."""
    finished = FinishedRun.read(run)
    paths = [str(finished.root / path) for path in finished.predictions_of(part).predictions.paths]
    return np.concatenate([batch.probabilities for batch in predict(load(str(run)), paths, batch_size=5)])


@pytest.mark.parametrize("method", APART)
def test_ensemble_model_reproduces_its_prediction_tables(
    method: str, joinable: dict[str, Path], tmp_path: Path
) -> None:
    run = join([*joinable.values()], tmp_path / method, method)
    table = FinishedRun.read(run).predictions_of("test").predictions.probabilities
    np.testing.assert_allclose(predict_part(run), table, atol=2e-5)
    bundle, _ = ModelBundle.read(run)
    assert (bundle.kind, bundle.combination) == ("ensemble", method)
    assert sum(member.weight for member in bundle.members) == pytest.approx(1)


def test_ensemble_average_is_the_mean_and_vote_the_majority(joinable: dict[str, Path], tmp_path: Path) -> None:
    given = np.stack(
        [FinishedRun.read(run).predictions_of("test").predictions.probabilities for run in joinable.values()]
    )
    for method, expected in (
        (ensemble_methods.AVERAGE, weighted_mean(given, [1, 1, 1])),
        (ensemble_methods.VOTE, majority(given)),
    ):
        run = join([*joinable.values()], tmp_path / method, method)
        opened = load(str(run))
        assert isinstance(opened, EnsembleModel)
        table = FinishedRun.read(run).predictions_of("test").predictions.probabilities
        np.testing.assert_array_equal(table.argmax(axis=1), expected.argmax(axis=1))
        if ModelBundle.read(run)[0].temperature is None:
            np.testing.assert_allclose(table, expected, atol=1e-6)


def test_ensemble_members_get_their_own_image_size_and_resize(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([joinable["large"], joinable["small"]], tmp_path / "run")
    opened = load(str(run))
    assert opened.views == (View(48, "pad"), View(TINY_SIZE, "squash"))
    with pytest.raises(ValueError, match="48 pad, 32 squash"):
        opened.predict_proba(np.zeros((1, 48, 48, 3), np.uint8))
    # Counter-check: a member that gets the other's images predicts something else.
    views = [np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8)]
    views.append(np.random.default_rng(1).integers(0, 256, (4, TINY_SIZE, TINY_SIZE, 3), np.uint8))
    alone = [load(str(joinable["large"])).predict_proba(views[0]), load(str(joinable["small"])).predict_proba(views[1])]
    assert isinstance(opened, EnsembleModel)
    np.testing.assert_allclose(opened.member_probabilities(views), alone, atol=1e-6)
    views[1] = views[1][:, ::-1, :, ::-1]
    assert np.abs(opened.member_probabilities(views)[1] - alone[1]).max() > 1e-4


def test_ensemble_shared_network_runs_once(
    colours: Path, finetuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split.read(finetuned / "split.csv")
    runs = [train(colours, tmp_path / name, split, **{"classifier.name": name}) for name in ("logistic", "knn", "lda")]
    run = join([*runs, finetuned], tmp_path / "run")
    passes = []
    load_network = loading._load_network

    def counted(*arguments: Any) -> Any:
        network = load_network(*arguments)
        return lambda images: passes.append(len(images)) or network(images)

    monkeypatch.setattr(loading, "_load_network", counted)
    predict_part(run)
    # Four members share two networks.
    assert sum(passes) == 2 * int(FinishedRun.read(run).split.mask("test").sum())
    stored = {path.stat().st_ino for path in run.rglob("backbone.keras")}
    assert len(stored) == 1


def test_training_images_of_ensemble_are_those_of_any_member(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([*joinable.values()], tmp_path / "run")
    images = training_images_of(str(run))
    assert images is not None
    split = FinishedRun.read(run).split
    roles = dict(
        zip((row.part for row in split.rows), images.roles_of([row.sha256 for row in split.rows]), strict=True)
    )
    assert roles == {"train": "train", "val": "val", "test": "unseen"}


def test_ensemble_logs_fit_before_test(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    events = [event["event"] for event in RunDirectory(run).read_events()]
    assert events == ["begin", "fit", "test", "end"]


def test_ensemble_complete_run_is_returned_and_other_members_raise(joinable: dict[str, Path], tmp_path: Path) -> None:
    runs = [joinable["small"], joinable["large"]]
    recipe = EnsembleRecipe()
    first = ensemble(EnsembleRequest(runs, RunDirectory(tmp_path / "run")), recipe)
    assert not first.was_complete
    before = (tmp_path / "run/metrics.json").stat().st_mtime_ns
    again = ensemble(EnsembleRequest(runs, RunDirectory(tmp_path / "run")), recipe)
    assert again.was_complete
    assert again.metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    assert (tmp_path / "run/metrics.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="member"):
        ensemble(EnsembleRequest([joinable["small"], joinable["finetuned"]], RunDirectory(tmp_path / "run")), recipe)
    with pytest.raises(RunError, match=r"--method is weighted there and vote here"):
        join(runs, tmp_path / "run", ensemble_methods.VOTE)
    other = ensemble(
        EnsembleRequest([joinable["small"], joinable["finetuned"]], RunDirectory(tmp_path / "run"), overwrite=True),
        recipe,
    )
    assert not other.was_complete


def test_ensemble_of_ensembles_works_up_to_depth_3(joinable: dict[str, Path], tmp_path: Path) -> None:
    inner = join([joinable["small"], joinable["large"]], tmp_path / "inner")
    outer = join([inner, joinable["finetuned"]], tmp_path / "outer", ensemble_methods.WEIGHTED)
    table = FinishedRun.read(outer).predictions_of("test").predictions.probabilities
    np.testing.assert_allclose(predict_part(outer), table, atol=2e-5)
    third = join([outer, joinable["small"]], tmp_path / "third")
    with pytest.raises(ModelError, match="deeper than 3"):
        ModelBundle.read(join([third, joinable["large"]], tmp_path / "fourth"))


def test_ensemble_without_val_is_fit_on_val_out_of_fold_predictions(colours: Path, tmp_path: Path) -> None:
    first = train(colours, tmp_path / "a")
    split = Split.read(first / "split.csv")
    second = train(colours, tmp_path / "b", split, **{"classifier.name": "lda"})
    assert "val" not in split.counts()
    run = join([first, second], tmp_path / "run", ensemble_methods.STACK)
    found = FinishedRun.read(run)
    answered = found.predictions_of("val")
    assert {found.split.rows[row].part for row in answered.rows} == {"train"}
    # Predictions of the final members, which were trained on these images, are different.
    expected = np.stack(
        [FinishedRun.read(each).predictions_of("val").predictions.probabilities for each in (first, second)]
    )
    part = Members.read([first, second]).predictions("val")
    assert part is not None
    np.testing.assert_array_equal(part.probabilities, expected)
    now = predict_part(first, "val")
    assert np.abs(now - expected[0]).max() > 1e-3


def test_ensemble_without_held_out_predictions_needs_method_without_fit(
    colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    from transfer_cli import FinetuneRecipe
    from transfer_cli.training.finetune import finetune

    runs = []
    for seed in (0, 1):
        words = WORDS | {"split.val": 0.0, "seed": seed}
        recipe = FinetuneRecipe.load(str(two_stages), [], words)
        finetune(TrainingRequest(ImageFolder.scan(colours), RunDirectory(tmp_path / f"{seed}")), recipe)
        runs.append(tmp_path / f"{seed}")
    with pytest.raises(InputError, match="weighted is fitted on images that no member was trained on"):
        join(runs, tmp_path / "run", ensemble_methods.WEIGHTED)
    assert not (tmp_path / "run").exists()
    run = join(runs, tmp_path / "run")
    assert set(FinishedRun.read(run).metrics) == {"test"}
    assert ModelBundle.read(run)[0].temperature is None


def test_read_members_with_different_splits_raises_with_commands(
    joinable: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    other = train(colours, tmp_path / "other", **{"split.seed": 1})
    with pytest.raises(InputError, match=r"other was trained on .*, which is in (val|test) of colours") as caught:
        Members.read([joinable["finetuned"], other])
    assert caught.value.hint
    source, mine = colours.resolve(), other / "recipe.toml"
    assert f"transfer-cli extract {source} --recipe {mine} --split " in caught.value.hint
    fewer = Path(shutil.copytree(joinable["small"], tmp_path / "fewer"))
    lines = (fewer / "split.csv").read_text().splitlines()
    (fewer / "split.csv").write_text("\n".join(line for line in lines if not line.endswith("blue,test")) + "\n")
    with pytest.raises(InputError, match=r"have different (val|test) images"):
        Members.read([joinable["small"], fewer])


def test_read_members_with_different_classes_raises(joinable: dict[str, Path], colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    (folder / "red").rename(folder / "crimson")
    other = train(folder, tmp_path / "other")
    with pytest.raises(InputError, match="only small: red\nonly other: crimson"):
        Members.read([joinable["small"], other])


def test_read_members_invalid_runs_raise(joinable: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two or more runs\. Received: 1"):
        Members.read([joinable["small"]])
    with pytest.raises(InputError, match="each run once"):
        Members.read([joinable["small"], joinable["small"] / "." / "../small"])
    with pytest.raises(RunError, match="There is no run"):
        Members.read([joinable["small"], tmp_path / "none"])
    without = Path(shutil.copytree(joinable["small"], tmp_path / "without"))
    shutil.rmtree(without / "model")
    with pytest.raises(ModelError, match="has no model"):
        Members.read([joinable["small"], without])


def test_load_stack_with_missing_or_wrong_matrix_raises(joinable: dict[str, Path], tmp_path: Path) -> None:
    from tests.hostile_files import reseal
    from transfer_cli.classifiers.linear import Linear

    run = join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    Linear(np.zeros((6, 3)), np.zeros(3)).save(run / "model/linear.npz")
    reseal(run / "model")
    with pytest.raises(ModelError, match="takes 6 features; the bundle has 9"):
        load(str(run))
    files = json.loads((run / "model/bundle.json").read_text())["files"]
    del files["linear.npz"]
    reseal(run / "model", files=files)
    with pytest.raises(ModelError, match=r"no digest of linear\.npz"):
        load(str(run))


def test_ensemble_rejection_uses_the_member_with_frozen_features(
    joinable: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    run = join([joinable["finetuned"], joinable["small"]], tmp_path / "run")
    opened = load(str(run))
    assert opened.rejection_file is not None
    small = load(str(joinable["small"]))
    views = [np.random.default_rng(0).integers(0, 256, (6, view.size, view.size, 3), np.uint8) for view in opened.views]
    probabilities, features = opened.predict_with_features(views)
    np.testing.assert_array_equal(probabilities, opened.predict_views(views))
    np.testing.assert_allclose(features, small.predict_with_features(views)[1], atol=1e-5)
    rejector = Rejector(opened, coverage=0.9)
    paths = sorted(map(str, colours.rglob("*.png")))
    own = [batch.reject_reasons for batch in predict(opened, paths, rejector=rejector)]
    assert sum(why != "" for part in own if part for why in part) < len(paths) / 2
    # Counter-check: noise is rejected.
    assert all(rejector(views)[1])


def test_ensemble_identical_images_are_all_combined(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    first = train(folder, tmp_path / "one", **{"split.val": 0.2})
    held = {row.part: row.path for row in Split.read(first / "split.csv").rows}
    for part in ("val", "test"):
        path = folder / held[part]
        shutil.copyfile(path, path.with_stem(f"{path.stem} again"))
    first = train(folder, tmp_path / "a", **{"split.val": 0.2})
    split = Split.read(first / "split.csv")
    second = train(folder, tmp_path / "b", split, **{"classifier.name": "knn"})
    run = join([first, second], tmp_path / "run")
    found = FinishedRun.read(run)
    assert len(found.predictions_of("test").rows) == int(split.mask("test").sum()) == 13
    assert MemberComparison.read(RunDirectory(run).members).images == 13
    part = Members.read([first, second]).predictions("val")
    assert part is not None
    assert len(np.unique(part.group_ids)) == len(part.group_ids) - 1


def test_predictions_group_ids_follow_group_by_of_the_members(colours: Path, tmp_path: Path) -> None:
    words = {"split.group_by": "([0-9])[.]png", "split.val": 0.3}
    first = train(colours, tmp_path / "a", **words)
    split = Split.read(first / "split.csv")
    second = train(colours, tmp_path / "b", split, **words, **{"classifier.name": "knn"})
    part = Members.read([first, second]).predictions("val")
    assert part is not None
    paths = [split.rows[row].path for row in part.rows]
    for one, its in zip(paths, part.group_ids, strict=True):
        assert [path for path, other in zip(paths, part.group_ids, strict=True) if other == its] == [
            path for path in paths if path[-5] == one[-5]
        ]


def test_read_members_with_different_held_out_labels_raises(joinable: dict[str, Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(joinable["small"], tmp_path / "other"))
    lines = (other / "split.csv").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(",blue,val"))
    lines[place] = lines[place].replace(",blue,val", ",red,val")
    (other / "split.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"held-out image: .*\(blue\) in small, .*\(red\) in other"):
        Members.read([joinable["small"], other])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["a member", "inside a member", "around a member"])
def test_ensemble_output_in_or_around_a_member_raises(where: str, joinable: dict[str, Path], tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(joinable[name], tmp_path / "runs" / name)) for name in ("small", "large")]
    target = {"a member": runs[0], "inside a member": runs[0] / "both", "around a member": tmp_path / "runs"}[where]
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"its member .* would be overwritten"):
        ensemble(EnsembleRequest(runs, RunDirectory(target), overwrite=True), EnsembleRecipe())
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_ensemble_bundle_holds_no_paths_and_can_be_moved(joinable: dict[str, Path], tmp_path: Path) -> None:
    moved = [Path(shutil.copytree(joinable[name], tmp_path / "here" / name)) for name in ("small", "large")]
    run = join(moved, tmp_path / "run")
    assert str(tmp_path) not in (run / "model/bundle.json").read_text()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = [tmp_path / "there" / path.name for path in moved]
    recipe = EnsembleRecipe(ensemble=EnsembleOptions(method=ensemble_methods.AVERAGE))
    assert ensemble(EnsembleRequest(moved, RunDirectory(run)), recipe).was_complete


def test_ensemble_reads_test_predictions_only_after_fitting(
    joinable: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    answered, fitted_on = FinishedRun.predictions_of, making._EnsembleBuilder._fit_on_val

    def read(self: FinishedRun, part: str) -> Any:
        done.append(part)
        return answered(self, part)

    def fit(self: Any, *words: Any) -> Any:
        found = fitted_on(self, *words)
        done.append("fitted")
        return found

    monkeypatch.setattr(FinishedRun, "predictions_of", read)
    monkeypatch.setattr(making._EnsembleBuilder, "_fit_on_val", fit)
    join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    assert done.index("fitted") < done.index("test")
    assert set(done[: done.index("fitted")]) == {"val"}
