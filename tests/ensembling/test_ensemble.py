"""Finished runs as one model: what it says, what it is made of, and what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY, TINY_SIZE
from transfer_cli import ExtractRecipe, ImageFolder, ModelBundle, RunDirectory, Split, ensemble, extract, load
from transfer_cli.catalog import ensemble_methods
from transfer_cli.data.views import View
from transfer_cli.ensembling import ensemble as making
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.ensembling.members import Members
from transfer_cli.errors import InputError, ModelError, RunError
from transfer_cli.inference import models as loading
from transfer_cli.inference.combine import majority, weighted_mean
from transfer_cli.inference.ensemble_model import EnsembleModel
from transfer_cli.inference.load import _run_of
from transfer_cli.inference.predict import predict
from transfer_cli.inference.reject import Rejecting
from transfer_cli.recipe.ensemble import EnsembleOptions, EnsembleRecipe
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.evaluation_directory import training_images_of

APART = [name for name in ensemble_methods.names() if not ensemble_methods.find(name).one_network]
WORDS: dict[str, Any] = {"backbone.name": TINY, "backbone.weights": "none", "images.size": TINY_SIZE}


def join(runs: list[Path], target: Path, method: str = ensemble_methods.AVERAGE, **words: Any) -> Path:
    recipe = EnsembleRecipe(ensemble=EnsembleOptions(method=method, **words))
    return ensemble(runs, recipe, RunDirectory(target)).run.path


def train(folder: Path, run: Path, split: Split | None = None, **words: Any) -> Path:
    recipe = ExtractRecipe.load(None, [], WORDS | words)
    extract(ImageFolder.scan(folder), recipe, RunDirectory(run), split=split)
    return run


def said_again(run: Path, part: str = "test") -> np.ndarray:
    """Return what the model of a run says of the pictures of a part, in the order of its table."""
    finished = FinishedRun.read(run)
    paths = [str(finished.root / path) for path in finished.answered(part).predictions.paths]
    return np.concatenate([batch.probabilities for batch in predict(load(str(run)), paths, batch_size=5)])


@pytest.mark.parametrize("method", APART)
def test_the_model_says_what_the_tables_say(method: str, joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([*joinable.values()], tmp_path / method, method)
    table = FinishedRun.read(run).answered("test").predictions.probabilities
    np.testing.assert_allclose(said_again(run), table, atol=2e-5)
    bundle, _ = ModelBundle.read(run)
    assert (bundle.kind, bundle.combination) == ("ensemble", method)
    assert sum(member.weight for member in bundle.members) == pytest.approx(1)


def test_an_average_is_the_mean_of_its_members_and_a_vote_their_majority(
    joinable: dict[str, Path], tmp_path: Path
) -> None:
    given = np.stack([FinishedRun.read(run).answered("test").predictions.probabilities for run in joinable.values()])
    for method, expected in (
        (ensemble_methods.AVERAGE, weighted_mean(given, [1, 1, 1])),
        (ensemble_methods.VOTE, majority(given)),
    ):
        run = join([*joinable.values()], tmp_path / method, method)
        opened = load(str(run))
        assert isinstance(opened, EnsembleModel)
        table = FinishedRun.read(run).answered("test").predictions.probabilities
        np.testing.assert_array_equal(table.argmax(axis=1), expected.argmax(axis=1))
        if ModelBundle.read(run)[0].temperature is None:
            np.testing.assert_allclose(table, expected, atol=1e-6)


def test_members_see_a_picture_each_in_its_own_way(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([joinable["large"], joinable["small"]], tmp_path / "run")
    opened = load(str(run))
    assert opened.views == (View(48, "pad"), View(TINY_SIZE, "squash"))
    with pytest.raises(ValueError, match="48 pad, 32 squash"):
        opened.predict_proba(np.zeros((1, 48, 48, 3), np.uint8))
    # The twin: a member that is shown the other's view says something else.
    views = [np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), np.uint8)]
    views.append(np.random.default_rng(1).integers(0, 256, (4, TINY_SIZE, TINY_SIZE, 3), np.uint8))
    alone = [load(str(joinable["large"])).predict_proba(views[0]), load(str(joinable["small"])).predict_proba(views[1])]
    assert isinstance(opened, EnsembleModel)
    np.testing.assert_allclose(opened.answers(views), alone, atol=1e-6)
    views[1] = views[1][:, ::-1, :, ::-1]
    assert np.abs(opened.answers(views)[1] - alone[1]).max() > 1e-4


def test_a_network_that_members_share_runs_once(
    colours: Path, finetuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Split.read(finetuned / "split.csv")
    runs = [train(colours, tmp_path / name, split, **{"classifier.name": name}) for name in ("logistic", "knn", "lda")]
    run = join([*runs, finetuned], tmp_path / "run")
    passes = []
    run_of = _run_of

    def counted(*words: Any) -> Any:
        network = run_of(*words)
        return lambda images: passes.append(len(images)) or network(images)

    monkeypatch.setattr(loading, "_run_of", counted)
    said_again(run)
    # Four members, two networks: of 32 pixels each.
    assert sum(passes) == 2 * int(FinishedRun.read(run).split.mask("test").sum())
    stored = {path.stat().st_ino for path in run.rglob("backbone.keras")}
    assert len(stored) == 1


def test_what_it_has_learnt_from_is_what_any_member_has(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([*joinable.values()], tmp_path / "run")
    learnt = training_images_of(str(run))
    assert learnt is not None
    split = FinishedRun.read(run).split
    says = dict(zip((row.part for row in split.rows), learnt.say([row.sha256 for row in split.rows]), strict=True))
    assert says == {"train": "yes", "val": "chosen", "test": "no"}


def test_nothing_is_read_of_test_before_all_is_fitted(joinable: dict[str, Path], tmp_path: Path) -> None:
    run = join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    events = [event["event"] for event in RunDirectory(run).logged()]
    assert events == ["begin", "fit", "test", "end"]


def test_the_same_again_does_nothing_and_other_members_are_another_run(
    joinable: dict[str, Path], tmp_path: Path
) -> None:
    runs = [joinable["small"], joinable["large"]]
    recipe = EnsembleRecipe()
    first = ensemble(runs, recipe, RunDirectory(tmp_path / "run"))
    assert not first.was_complete
    before = (tmp_path / "run/metrics.json").stat().st_mtime_ns
    again = ensemble(runs, recipe, RunDirectory(tmp_path / "run"))
    assert again.was_complete
    assert again.metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    assert (tmp_path / "run/metrics.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="member"):
        ensemble([joinable["small"], joinable["finetuned"]], recipe, RunDirectory(tmp_path / "run"))
    with pytest.raises(RunError, match=r"ensemble\.method is weighted there and vote here"):
        join(runs, tmp_path / "run", ensemble_methods.VOTE)
    other = ensemble([joinable["small"], joinable["finetuned"]], recipe, RunDirectory(tmp_path / "run"), overwrite=True)
    assert not other.was_complete


def test_an_ensemble_is_a_member_like_any_other(joinable: dict[str, Path], tmp_path: Path) -> None:
    inner = join([joinable["small"], joinable["large"]], tmp_path / "inner")
    outer = join([inner, joinable["finetuned"]], tmp_path / "outer", ensemble_methods.WEIGHTED)
    table = FinishedRun.read(outer).answered("test").predictions.probabilities
    np.testing.assert_allclose(said_again(outer), table, atol=2e-5)
    third = join([outer, joinable["small"]], tmp_path / "third")
    with pytest.raises(ModelError, match="deeper than 3"):
        ModelBundle.read(join([third, joinable["large"]], tmp_path / "fourth"))


def test_without_val_it_is_fitted_on_answers_out_of_fold(colours: Path, tmp_path: Path) -> None:
    first = train(colours, tmp_path / "a")
    split = Split.read(first / "split.csv")
    second = train(colours, tmp_path / "b", split, **{"classifier.name": "lda"})
    assert "val" not in split.counts()
    run = join([first, second], tmp_path / "run", ensemble_methods.STACK)
    found = FinishedRun.read(run)
    answered = found.answered("val")
    assert {found.split.rows[row].part for row in answered.rows} == {"train"}
    # What the members say of these pictures now, having learnt from them, is not what it was fitted on.
    expected = np.stack([FinishedRun.read(each).answered("val").predictions.probabilities for each in (first, second)])
    part = Members.read([first, second]).part("val")
    assert part is not None
    np.testing.assert_array_equal(part.given, expected)
    now = said_again(first, "val")
    assert np.abs(now - expected[0]).max() > 1e-3


def test_where_nothing_was_held_out_only_what_is_not_fitted_works(
    colours: Path, two_stages: Path, tmp_path: Path
) -> None:
    from transfer_cli import FinetuneRecipe, finetune

    runs = []
    for seed in (0, 1):
        words = WORDS | {"split.val": 0.0, "seed": seed}
        recipe = FinetuneRecipe.load(str(two_stages), [], words)
        finetune(ImageFolder.scan(colours), recipe, RunDirectory(tmp_path / f"{seed}"))
        runs.append(tmp_path / f"{seed}")
    with pytest.raises(InputError, match="weighted is fitted on pictures that no member has learnt from"):
        join(runs, tmp_path / "run", ensemble_methods.WEIGHTED)
    assert not (tmp_path / "run").exists()
    run = join(runs, tmp_path / "run")
    assert set(FinishedRun.read(run).metrics) == {"test"}
    assert ModelBundle.read(run)[0].temperature is None


def test_other_parts_are_refused_with_the_list(joinable: dict[str, Path], colours: Path, tmp_path: Path) -> None:
    other = train(colours, tmp_path / "other", **{"split.seed": 1})
    with pytest.raises(InputError, match=r"other has learnt from .*, which is in (val|test) of colours") as caught:
        Members.read([joinable["finetuned"], other])
    assert caught.value.hint
    source, mine = colours.resolve(), other / "recipe.toml"
    assert f"transfer-cli extract {source} --recipe {mine} --split " in caught.value.hint
    fewer = Path(shutil.copytree(joinable["small"], tmp_path / "fewer"))
    lines = (fewer / "split.csv").read_text().splitlines()
    (fewer / "split.csv").write_text("\n".join(line for line in lines if not line.endswith("blue,test")) + "\n")
    with pytest.raises(InputError, match="do not hold out the same pictures"):
        Members.read([joinable["small"], fewer])


def test_other_classes_are_refused_with_the_difference(
    joinable: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    (folder / "red").rename(folder / "crimson")
    other = train(folder, tmp_path / "other")
    with pytest.raises(InputError, match="only small: red\nonly other: crimson"):
        Members.read([joinable["small"], other])


def test_what_is_no_run_is_refused(joinable: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two runs or more\. Received: 1"):
        Members.read([joinable["small"]])
    with pytest.raises(InputError, match="each run once"):
        Members.read([joinable["small"], joinable["small"] / "." / "../small"])
    with pytest.raises(RunError, match="There is no run"):
        Members.read([joinable["small"], tmp_path / "none"])
    without = Path(shutil.copytree(joinable["small"], tmp_path / "without"))
    shutil.rmtree(without / "model")
    with pytest.raises(ModelError, match="a run without a model"):
        Members.read([joinable["small"], without])


def test_a_stack_needs_its_matrix_and_one_that_fits(joinable: dict[str, Path], tmp_path: Path) -> None:
    from tests.hostile_files import reseal
    from transfer_cli.classifiers.linear import Linear

    run = join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    Linear(np.zeros((6, 3)), np.zeros(3)).save(run / "model/linear.npz")
    reseal(run / "model")
    with pytest.raises(ModelError, match="reads 6 numbers; the bundle has 9"):
        load(str(run))
    files = json.loads((run / "model/bundle.json").read_text())["files"]
    del files["linear.npz"]
    reseal(run / "model", files=files)
    with pytest.raises(ModelError, match=r"no digest of linear\.npz"):
        load(str(run))


def test_what_is_unlike_all_is_told_by_the_member_that_was_not_trained_further(
    joinable: dict[str, Path], colours: Path, tmp_path: Path
) -> None:
    run = join([joinable["finetuned"], joinable["small"]], tmp_path / "run")
    opened = load(str(run))
    assert opened.rejection_file is not None
    small = load(str(joinable["small"]))
    views = [np.random.default_rng(0).integers(0, 256, (6, view.size, view.size, 3), np.uint8) for view in opened.views]
    probabilities, features = opened.judged(views)
    np.testing.assert_array_equal(probabilities, opened.predict_views(views))
    np.testing.assert_allclose(features, small.judged(views)[1], atol=1e-5)
    rejecting = Rejecting(opened, coverage=0.9)
    paths = sorted(map(str, colours.rglob("*.png")))
    own = [batch.unknown for batch in predict(opened, paths, rejecting=rejecting)]
    assert sum(why != "" for part in own if part for why in part) < len(paths) / 2
    # The twin: noise is unlike any colour.
    assert all(rejecting(views)[1])


def test_copies_of_a_picture_are_each_joined_and_compared(colours: Path, tmp_path: Path) -> None:
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
    assert len(found.answered("test").rows) == int(split.mask("test").sum()) == 13
    assert MemberComparison.read(RunDirectory(run).members).images == 13
    part = Members.read([first, second]).part("val")
    assert part is not None
    assert len(np.unique(part.assign_group_ids)) == len(part.assign_group_ids) - 1


def test_relatives_of_the_members_recipes_are_in_one_fold(colours: Path, tmp_path: Path) -> None:
    words = {"split.group_by": "([0-9])[.]png", "split.val": 0.3}
    first = train(colours, tmp_path / "a", **words)
    split = Split.read(first / "split.csv")
    second = train(colours, tmp_path / "b", split, **words, **{"classifier.name": "knn"})
    part = Members.read([first, second]).part("val")
    assert part is not None
    paths = [split.rows[row].path for row in part.rows]
    for one, its in zip(paths, part.assign_group_ids, strict=True):
        assert [path for path, other in zip(paths, part.assign_group_ids, strict=True) if other == its] == [
            path for path in paths if path[-5] == one[-5]
        ]


def test_another_label_of_what_is_held_out_is_refused(joinable: dict[str, Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(joinable["small"], tmp_path / "other"))
    lines = (other / "split.csv").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.endswith(",blue,val"))
    lines[place] = lines[place].replace(",blue,val", ",red,val")
    (other / "split.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"hold out: .*\(blue\) there, and .*\(red\) here"):
        Members.read([joinable["small"], other])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["a member", "inside a member", "around a member"])
def test_no_member_is_written_over(where: str, joinable: dict[str, Path], tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(joinable[name], tmp_path / "runs" / name)) for name in ("small", "large")]
    target = {"a member": runs[0], "inside a member": runs[0] / "both", "around a member": tmp_path / "runs"}[where]
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="is a member of it"):
        ensemble(runs, EnsembleRecipe(), RunDirectory(target), overwrite=True)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_place_is_nowhere_in_a_bundle_that_travels(joinable: dict[str, Path], tmp_path: Path) -> None:
    moved = [Path(shutil.copytree(joinable[name], tmp_path / "here" / name)) for name in ("small", "large")]
    run = join(moved, tmp_path / "run")
    assert str(tmp_path) not in (run / "model/bundle.json").read_text()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = [tmp_path / "there" / path.name for path in moved]
    recipe = EnsembleRecipe(ensemble=EnsembleOptions(method=ensemble_methods.AVERAGE))
    assert ensemble(moved, recipe, RunDirectory(run)).was_complete


def test_tables_of_test_are_opened_after_all_is_fitted(
    joinable: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    answered, fitted_on = FinishedRun.answered, making._EnsembleBuilder._fitted_on

    def read(self: FinishedRun, part: str) -> Any:
        done.append(part)
        return answered(self, part)

    def fit(self: Any, *words: Any) -> Any:
        found = fitted_on(self, *words)
        done.append("fitted")
        return found

    monkeypatch.setattr(FinishedRun, "answered", read)
    monkeypatch.setattr(making._EnsembleBuilder, "_fitted_on", fit)
    join([*joinable.values()], tmp_path / "run", ensemble_methods.STACK)
    assert done.index("fitted") < done.index("test")
    assert set(done[: done.index("fitted")]) == {"val"}
