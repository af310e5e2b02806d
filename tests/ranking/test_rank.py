"""Backbones compared on pictures that are not test, through the feature cache, and gone on with where that stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COLOURS, save_picture
from transfer_cli import ExtractRecipe, ImageFolder, Ranking, RankingDirectory, RunDirectory, Split, extract, rank
from transfer_cli.audit import grouping
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.errors import FolderError, ImageError, InputError, WeightsError
from transfer_cli.inference import compiled_network, latency
from transfer_cli.inference.load import load_members
from transfer_cli.io.cache import Cache
from transfer_cli.ranking import candidate_score, sample
from transfer_cli.ranking.results import LOGME
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.setup import lifecycle

FOUR: dict[str, Any] = {"among": ["mobilenet@0.25", "mobilenet_v2@0.35"], "weights": ["imagenet", "none"]}
OWN: dict[str, Any] = {"among": ["embedded"]}
BOTH: dict[str, Any] = {"among": ["embedded"], "weights": ["embedded", "none"]}
FAST = {"backbone.name": "embedded", "classifier.tune": False}


class Heard:
    """A progress that remembers what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.note, self.warn = self.notes.append, self.warnings.append
        self.track = compiled_network.SILENT.track


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many pictures each forward pass sees."""
    seen: list[int] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: compiled_network.CompiledNetwork, images: Any) -> Any:
            seen.append(len(images))
            return method(self, images)

        return call

    for name in ("__call__", "check"):
        monkeypatch.setattr(
            compiled_network.CompiledNetwork, name, counting(getattr(compiled_network.CompiledNetwork, name))
        )
    return seen


@pytest.fixture(scope="module")
def converted(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache with the networks, and no feature."""
    cache = Cache(tmp_path_factory.mktemp("converted") / "cache")
    place = RankingDirectory(tmp_path_factory.mktemp("first") / "ranked")
    rank(ImageFolder.scan(colours), place, **BOTH, cache=cache)
    cache.clear("features")
    return cache.path


@pytest.fixture
def here(tmp_path: Path, converted: Path) -> dict[str, Any]:
    """Return a place of this test's own, and a cache with the converted networks."""
    shutil.copytree(converted, tmp_path / "cache")
    return {"place": RankingDirectory(tmp_path / "ranked"), "cache": Cache(tmp_path / "cache")}


def ranked(folder: Path, here: dict[str, Any], **options: Any) -> Ranking:
    return rank(ImageFolder.scan(folder), **{**OWN, **here, **options})


def names(ranking: Ranking) -> list[tuple[str, str]]:
    return [(row.candidate.backbone, row.candidate.weights) for row in ranking.rows]


# -- photographs and real weights --


@pytest.fixture(scope="module")
def clothes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 120 photographs of clothing of four classes, a fifth of them test."""
    folder = tmp_path_factory.mktemp("clothes") / "clothes"
    for name in ("hat", "pants", "shoes", "t-shirt"):
        (folder / name).mkdir(parents=True)
        for path in sorted((shared / "data/clothing/train" / name).glob("*.jpg"))[:30]:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("kept")
    return {"place": RankingDirectory(place / "ranked"), "cache": Cache(place / "cache")}


@pytest.fixture
def _real_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))


@pytest.mark.usefixtures("_real_weights")
def test_both_pretrained_ones_are_before_both_random_ones(
    clothes: Path, kept: dict[str, Any], passes: list[int]
) -> None:
    first = ranked(clothes, kept, **FOUR)
    assert [weights for _, weights in names(first)] == ["imagenet", "imagenet", "none", "none"]
    worst = first.rows[1].accuracy
    assert worst is not None
    for row in first.rows[2:]:
        assert row.accuracy is not None
        assert row.candidate not in first.within_noise
        assert row.accuracy["high"] < worst["low"]  # type: ignore[operator]
    assert passes
    passes.clear()
    second = ranked(clothes, kept, **FOUR)
    assert passes == []
    assert second.to_dict() == first.to_dict()
    # Without what was written, the pictures' features are known, but how long they take is not.
    shutil.rmtree(kept["place"].candidates)
    best = first.rows[0]
    again = ranked(clothes, kept, among=[best.candidate.backbone], weights=[best.candidate.weights])
    assert passes
    assert [row.log_loss for row in again.rows] == [best.log_loss]


@pytest.mark.usefixtures("_real_weights")
def test_of_shuffled_labels_none_is_better_than_chance(clothes: Path, kept: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "shuffled"
    paths = sorted(clothes.rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(paths))
    for place, path in zip(order, paths, strict=True):
        target = folder / paths[place].parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    found = ranked(folder, {**kept, "place": RankingDirectory(tmp_path / "ranked")}, **FOUR)
    for row in found.rows:
        assert row.accuracy is not None
        # By chance 0.25, with a standard deviation of 0.044.
        assert row.accuracy["value"] < 0.39
    assert "none" in {candidate.weights for candidate in found.within_noise}


# -- which pictures --


def of_folder(folder: Path, split: Split | None = None, count: int = 2000) -> sample.RankingSample:
    request = TrainingRequest(ImageFolder.scan(folder), RunDirectory(Path("nowhere")), split=split)
    recipe = lifecycle.resolved(request, ExtractRecipe.load(words={"backbone.name": "embedded"}), keeps_model=True)
    return sample.ranking_sample(request, recipe, count)


@pytest.fixture
def messy(colours: Path, tmp_path: Path) -> Path:
    """Return a folder with files that are no pictures, copies, and a class of two pictures."""
    folder = Path(shutil.copytree(colours, tmp_path / "messy"))
    for name in COLOURS:
        (folder / name / "broken.png").write_bytes(b"nothing")
        (folder / name / "half.png").write_bytes((folder / name / f"{name} 03.png").read_bytes()[:300])
        shutil.copy(folder / name / f"{name} 04.png", folder / name / "copy.png")
    for number in range(2):
        save_picture(folder / "grey" / f"{number}.png", (90, 90, 90), np.random.default_rng(number))
        (folder / "grey" / f"broken {number}.png").write_bytes(b"neither %d" % number)
    return folder


@pytest.mark.parametrize("with_split", [False, True])
def test_no_picture_is_of_the_test_part_of_a_later_run(messy: Path, tmp_path: Path, with_split: bool) -> None:
    recipe = ExtractRecipe.load(words={**FAST, "split.seed": 3 if with_split else 0})
    split = extract(ImageFolder.scan(messy), recipe, RunDirectory(tmp_path / "run")).run.split
    parts = {row.path: row.part for row in Split.read(split).rows}
    if with_split:
        shutil.copy(split, messy / "split.csv")
    few = of_folder(messy)
    chosen = {file.path for file in few.folder.files}
    assert chosen == {path for path, part in parts.items() if part != "test"}
    assert "test" in parts.values()
    assert len(few.skipped) == 8
    # A digest is enough to choose by, and would not do: what cannot be read is in no part.
    assert len(parts) < len(ImageFolder.scan(messy).files)


def test_few_pictures_are_chosen_of_all_classes_and_the_same_each_time(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    for number in range(12, 60):
        save_picture(folder / "red" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    few, all_of_it = of_folder(folder, count=30), of_folder(folder)
    counts = np.bincount(few.truth).tolist()
    assert sum(counts) == 30
    assert min(counts) >= 5
    assert counts[2] > counts[0]
    assert set(few.digests) < set(all_of_it.digests)
    save_picture(folder / "red" / "more.png", COLOURS["red"], np.random.default_rng(99))
    assert len(set(of_folder(folder, count=30).digests) - set(few.digests)) <= 2


def test_copies_are_in_one_fold(tmp_path: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, random = tmp_path / "noise", np.random.default_rng(5)
    for number in range(40):
        place = folder / f"train/{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (24, 24, 3), np.uint8)).save(place / f"{number}.png")
        for copy in "ab":
            shutil.copy(place / f"{number}.png", place / f"{number}{copy}.png")
    save_picture(folder / "test/0/x.png", COLOURS["red"], random)
    honest = ranked(folder, here).rows[0].accuracy
    monkeypatch.setattr(sample, "assign_group_ids", lambda digests, groups: np.arange(len(digests)))
    flattered = ranked(folder, here).rows[0].accuracy
    assert honest is not None
    assert flattered is not None
    assert honest["value"] < 0.7
    assert flattered["value"] > 0.9


def test_relatives_are_kept_together(colours: Path, here: dict[str, Any]) -> None:
    assert ranked(colours, here, group_by=r"(\d\d)\.png").best is not None
    with pytest.raises(InputError, match="near-duplicates"):
        ranked(colours, here, group_by="near-duplicates")


def test_single_pictures_cannot_be_compared(tmp_path: Path, here: dict[str, Any]) -> None:
    for name, colour in COLOURS.items():
        save_picture(tmp_path / "single" / name / "one.png", colour, np.random.default_rng(1))
    with pytest.raises(FolderError, match=r"no class of .* has two pictures"):
        ranked(tmp_path / "single", here)


def test_two_pictures_a_class_are_enough_to_say_something(tmp_path: Path, here: dict[str, Any]) -> None:
    for name, colour in COLOURS.items():
        for number in range(3):
            save_picture(tmp_path / "few" / name / f"{number}.png", colour, np.random.default_rng(number))
    found = ranked(tmp_path / "few", here, **BOTH)
    assert len(found.eligible) == 2


def test_several_labels_a_picture(tmp_path: Path, here: dict[str, Any]) -> None:
    rows, random = ["path,labels"], np.random.default_rng(2)
    (tmp_path / "several").mkdir()
    for number in range(60):
        across, down = (int(draw < 0.5) for draw in random.random(2))
        image = random.integers(0, 40, (48, 48, 3), np.uint8)
        image[::6] += np.uint8(200 * across)
        image[:, ::6] |= np.uint8(200 * down)
        Image.fromarray(image).save(tmp_path / "several" / f"{number}.png")
        rows.append(f"{number}.png,{';'.join(['across'] * across + ['down'] * down)}")
    (tmp_path / "several" / "labels.csv").write_text("\n".join(rows) + "\n")
    best = ranked(tmp_path / "several", here).best
    assert best is not None
    assert best.mean_average_precision is not None
    assert best.mean_average_precision > 0.9


# -- the cache, and going on --


def test_extract_finds_the_features_of_a_ranking(colours: Path, here: dict[str, Any], passes: list[int]) -> None:
    looked_at = ranked(colours, here).images
    passes.clear()
    heard = Heard()
    recipe = ExtractRecipe.load(words=FAST)
    run = RunDirectory(here["place"].path.parent / "run")
    extract(ImageFolder.scan(colours), recipe, run, cache=here["cache"], progress=heard)
    assert f"{looked_at} of them were known from an earlier run" in heard.notes
    test = Split.read(run.split).counts()["test"]
    assert sum(passes) == test
    assert looked_at + test == 36


def test_a_ranking_finds_the_features_of_extract(colours: Path, here: dict[str, Any]) -> None:
    run = RunDirectory(here["place"].path.parent / "run")
    extract(ImageFolder.scan(colours), ExtractRecipe.load(words=FAST), run, cache=here["cache"])
    heard = Heard()
    looked_at = ranked(colours, here, progress=heard).images
    assert f"{looked_at} of them were known from an earlier run" in heard.notes
    # Another size is another feature.
    other = Heard()
    bigger = ExtractRecipe.load(words={**FAST, "images.size": 64})
    extract(ImageFolder.scan(colours), bigger, RunDirectory(run.path / "other"), cache=here["cache"], progress=other)
    assert not any("known from an earlier run" in note for note in other.notes)


def test_a_ranking_that_was_stopped_goes_on(
    colours: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    with monkeypatch.context() as patch:
        features, done = grouping.folder_features, []

        def interrupted(*given: Any) -> Any:
            done.append(given)
            if len(done) == 2:
                raise KeyboardInterrupt
            return features(*given)

        patch.setattr("transfer_cli.ranking.candidate_score.folder_features", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ranked(colours, here, **BOTH)
    assert not here["place"].ranking.exists()
    written = {path: path.read_bytes() for path in here["place"].candidates.iterdir()}
    passes.clear()
    found = ranked(colours, here, **BOTH)
    # The second one had been timed: it is only looked at.
    assert sum(passes) == found.images
    finished = [path for path, data in written.items() if path.read_bytes() == data]
    assert len(finished) == 1
    unbroken = ranked(colours, {**here, "place": RankingDirectory(here["place"].path.parent / "unbroken")}, **BOTH)
    assert [row.log_loss for row in unbroken.rows] == [row.log_loss for row in found.rows]


def test_what_was_found_of_other_pictures_is_not_taken(colours: Path, here: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    ranked(folder, here)
    for number in range(12, 16):
        save_picture(folder / "red" / f"{number}.png", COLOURS["blue"], np.random.default_rng(number))
    heard = Heard()
    assert ranked(folder, here, progress=heard).images > 0
    assert len([*here["place"].candidates.iterdir()]) == 2


def test_a_ranking_and_an_ensemble_time_batches_of_one_size(
    colours: Path, trained: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def seen(work: Any, images: int) -> float:
        shapes.append((images, *work.args[0].shape[:-1]))
        return 1.0

    monkeypatch.setattr(latency, "timed", seen)
    monkeypatch.setattr(candidate_score, "timed", seen)
    opened = [ModelBundle.open(trained)]
    # The network, and what reads its features.
    assert latency.Costs(load_members(opened), opened).alone(0).milliseconds == 2
    of_ensemble = shapes[0]
    shapes.clear()
    # Of fewer pictures than are in a batch.
    assert [row.milliseconds for row in ranked(colours, here).rows] == [1]
    assert [shape[:2] for shape in shapes] == [of_ensemble[:2]] == [(latency.BATCH, latency.BATCH)]


@pytest.mark.parametrize("damage", ["{", "accuracy", "milliseconds"])
def test_a_record_that_was_spoilt_is_made_anew(
    damage: str, colours: Path, here: dict[str, Any], passes: list[int]
) -> None:
    first = ranked(colours, here)
    [path] = here["place"].candidates.iterdir()
    record = json.loads(path.read_text())
    if damage == "accuracy":
        record["accuracy"]["value"] = 0.123
        damage = json.dumps(record)
    elif damage == "milliseconds":
        damage = json.dumps({word: value for word, value in record.items() if word != "milliseconds"})
    path.write_text(damage)
    passes.clear()
    heard = Heard()
    again = ranked(colours, here, progress=heard)
    assert any("is tried again" in warning for warning in heard.warnings)
    assert passes
    assert again.rows[0].accuracy == first.rows[0].accuracy


def test_a_picture_that_is_gone_meanwhile(
    colours: Path, here: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    choose = sample.ranking_sample

    def then_gone(*given: Any) -> sample.RankingSample:
        few = choose(*given)
        (folder / few.folder.files[-1].path).unlink()
        return few

    monkeypatch.setattr("transfer_cli.ranking.rank.ranking_sample", then_gone)
    with pytest.raises(ImageError, match="changed while they were read"):
        ranked(folder, here)


# -- bounds --


def test_what_is_too_large_is_not_run(colours: Path, here: dict[str, Any], passes: list[int]) -> None:
    found = ranked(colours, here, max_mb=1.0)
    assert passes == []
    assert found.best is None
    assert found.rows[0].left_out == "over 1 MB: not tried"
    assert ranked(colours, here, max_mb=4.0).best is not None


def test_what_takes_too_long_does_not_win(colours: Path, here: dict[str, Any]) -> None:
    found = ranked(colours, here, max_ms=1e-6)
    assert found.best is None
    assert found.rows[0].left_out == "over 1e-06 ms"
    assert found.rows[0].log_loss is None
    # It was timed; what is missing is found out when the bound allows it.
    assert ranked(colours, here, max_ms=1e6).best is not None
    with_score = ranked(colours, here, max_ms=1e-6).rows[0]
    assert with_score.log_loss is not None
    assert with_score.left_out


def test_when_time_is_up_the_cheapest_is_known(colours: Path, here: dict[str, Any]) -> None:
    among = {"among": ["embedded", "mobilenet@0.25"], "weights": ["embedded", "none"]}
    found = ranked(colours, here, seconds=0.0, **among)
    assert [row.left_out for row in found.rows] == ["", *["not tried: no time was left"] * 2]
    # What is known costs no time.
    ranked(colours, here, **BOTH)
    assert len(ranked(colours, here, seconds=0.0, **among).eligible) == 2


def test_logme_alone_fits_no_classifier(
    colours: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    from transfer_cli.classifiers import fit

    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit", None)
        found = ranked(colours, here, by=LOGME, **BOTH)
    assert [row.log_loss for row in found.rows] == [None, None]
    assert found.rows[0].logme > found.rows[1].logme  # type: ignore[operator]
    passes.clear()
    # The classifier needs no more passes, and finds the same LogME.
    whole = ranked(colours, here, **BOTH)
    assert passes == []
    assert {row.name: row.logme for row in whole.rows} == {row.name: row.logme for row in found.rows}


def test_weights_that_cannot_be_had(colours: Path, here: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="--offline"):
        ranked(colours, here, among=["mobilenet@0.25"], download=True, offline=True)
    heard = Heard()
    both = {"among": ["embedded", "mobilenet@0.25"], "download": True, "offline": True, "progress": heard}
    found = ranked(colours, here, **both)
    assert [row.left_out for row in found.rows] == ["", "its weights are not to be had"]
    assert any("--offline" in warning for warning in heard.warnings)
