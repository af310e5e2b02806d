"""Rank backbones on images outside test, through the feature cache, and continue interrupted rankings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COLOURS, save_image
from transfer_cli import ExtractRecipe, ImageFolder, Ranking, RankingDirectory, RankOptions, RunDirectory, Split, rank
from transfer_cli.audit import grouping
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.errors import FolderError, ImageError, InputError, WeightsError
from transfer_cli.inference import compiled_network, latency
from transfer_cli.inference.load import load_members
from transfer_cli.io.cache import Cache
from transfer_cli.ranking import candidate_score, sample
from transfer_cli.ranking.options import LOGME
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.training.extract import extract
from transfer_cli.training.setup.resolve import resolve_recipe

pytestmark = pytest.mark.integration

FOUR: dict[str, Any] = {"among": ["mobilenet@0.25", "mobilenet_v2@0.35"], "weights": ["imagenet", "none"]}
OWN: dict[str, Any] = {"among": ["embedded"]}
BOTH: dict[str, Any] = {"among": ["embedded"], "weights": ["embedded", "none"]}
FAST = {"backbone.name": "embedded", "classifier.tune": False}


class RecordedProgress:
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.note, self.warn = self.notes.append, self.warnings.append
        self.track = compiled_network.SILENT.track


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of images of each forward pass."""
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
    """Return a cache with converted networks but without features."""
    cache = Cache(tmp_path_factory.mktemp("converted") / "cache")
    place = RankingDirectory(tmp_path_factory.mktemp("first") / "ranked")
    ranked(colours, {"place": place, "cache": cache}, **BOTH)
    cache.clear("features")
    return cache.path


@pytest.fixture
def here(tmp_path: Path, converted: Path) -> dict[str, Any]:
    """Return an empty folder for the ranking, and a cache with the converted networks."""
    shutil.copytree(converted, tmp_path / "cache")
    return {"place": RankingDirectory(tmp_path / "ranked"), "cache": Cache(tmp_path / "cache")}


def ranked(folder: Path, here: dict[str, Any], **options: Any) -> Ranking:
    """Rank the backbones on a folder; options go to the request or to RankOptions."""
    names = {field.name for field in fields(RankOptions)}
    given = {**OWN, **options}
    request = {key: value for key, value in given.items() if key not in names}
    run = RunDirectory(here["place"].path)
    return rank(
        TrainingRequest(ImageFolder.scan(folder), run, cache=here["cache"], **request),
        RankOptions(**{key: value for key, value in given.items() if key in names}),
    )


def names(ranking: Ranking) -> list[tuple[str, str]]:
    return [(row.candidate.backbone, row.candidate.weights) for row in ranking.rows]


# -- photographs and real weights --


@pytest.fixture(scope="module")
def clothes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 120 photographs of four classes of clothing."""
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
def test_rank_pretrained_weights_beat_random_weights(clothes: Path, kept: dict[str, Any], passes: list[int]) -> None:
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
    # Without the records the features are cached, but the times must be measured again.
    shutil.rmtree(kept["place"].candidates)
    best = first.rows[0]
    again = ranked(clothes, kept, among=[best.candidate.backbone], weights=[best.candidate.weights])
    assert passes
    assert [row.log_loss for row in again.rows] == [best.log_loss]


@pytest.mark.usefixtures("_real_weights")
def test_rank_shuffled_labels_score_at_chance_level(clothes: Path, kept: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "shuffled"
    paths = sorted(clothes.rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(paths))
    for place, path in zip(order, paths, strict=True):
        target = folder / paths[place].parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    ranking = ranked(folder, {**kept, "place": RankingDirectory(tmp_path / "ranked")}, **FOUR)
    for row in ranking.rows:
        assert row.accuracy is not None
        # Chance level 0.25, with a standard deviation of 0.044.
        assert row.accuracy["value"] < 0.39
    assert "none" in {candidate.weights for candidate in ranking.within_noise}


# -- selection of images --


def of_folder(folder: Path, split: Split | None = None, count: int = 2000) -> sample.RankingSample:
    request = TrainingRequest(ImageFolder.scan(folder), RunDirectory(Path("nowhere")), split=split)
    recipe = resolve_recipe(request, ExtractRecipe.load(settings={"backbone.name": "embedded"}), keeps_model=True)
    return sample.ranking_sample(request, recipe, count)


@pytest.fixture
def messy(colours: Path, tmp_path: Path) -> Path:
    """Return a folder with broken files, duplicates, and a class with two images."""
    folder = Path(shutil.copytree(colours, tmp_path / "messy"))
    for name in COLOURS:
        (folder / name / "broken.png").write_bytes(b"nothing")
        (folder / name / "half.png").write_bytes((folder / name / f"{name} 03.png").read_bytes()[:300])
        shutil.copy(folder / name / f"{name} 04.png", folder / name / "copy.png")
    for number in range(2):
        save_image(folder / "grey" / f"{number}.png", (90, 90, 90), np.random.default_rng(number))
        (folder / "grey" / f"broken {number}.png").write_bytes(b"neither %d" % number)
    return folder


@pytest.mark.parametrize("with_split", [False, True])
def test_ranking_sample_has_no_test_image_of_a_later_run(messy: Path, tmp_path: Path, with_split: bool) -> None:
    recipe = ExtractRecipe.load(settings={**FAST, "split.seed": 3 if with_split else 0})
    split = extract(TrainingRequest(ImageFolder.scan(messy), RunDirectory(tmp_path / "run")), recipe).run.split
    parts = {row.path: row.part for row in Split.read(split).rows}
    if with_split:
        shutil.copy(split, messy / "split.csv")
    selected = of_folder(messy)
    chosen = {file.path for file in selected.folder.files}
    assert chosen == {path for path, part in parts.items() if part != "test"}
    assert "test" in parts.values()
    assert len(selected.skipped) == 8
    # Selecting by the digests alone would not do: unreadable files are in no part.
    assert len(parts) < len(ImageFolder.scan(messy).files)


def test_ranking_sample_is_stratified_and_stable(colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    for number in range(12, 60):
        save_image(folder / "red" / f"{number}.png", COLOURS["red"], np.random.default_rng(number))
    selected, everything = of_folder(folder, count=30), of_folder(folder)
    counts = np.bincount(selected.truth).tolist()
    assert sum(counts) == 30
    assert min(counts) >= 5
    assert counts[2] > counts[0]
    assert set(selected.digests) < set(everything.digests)
    save_image(folder / "red" / "more.png", COLOURS["red"], np.random.default_rng(99))
    assert len(set(of_folder(folder, count=30).digests) - set(selected.digests)) <= 2


def test_rank_duplicates_share_a_fold(tmp_path: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, random = tmp_path / "noise", np.random.default_rng(5)
    for number in range(40):
        place = folder / f"train/{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (24, 24, 3), np.uint8)).save(place / f"{number}.png")
        for copy in "ab":
            shutil.copy(place / f"{number}.png", place / f"{number}{copy}.png")
    save_image(folder / "test/0/x.png", COLOURS["red"], random)
    honest = ranked(folder, here).rows[0].accuracy
    monkeypatch.setattr(sample, "assign_group_ids", lambda digests, groups: np.arange(len(digests)))
    flattered = ranked(folder, here).rows[0].accuracy
    assert honest is not None
    assert flattered is not None
    assert honest["value"] < 0.7
    assert flattered["value"] > 0.9


def test_rank_group_by_pattern_works_and_near_duplicates_raises(colours: Path, here: dict[str, Any]) -> None:
    assert ranked(colours, here, group_by=r"(\d\d)\.png").best is not None
    with pytest.raises(InputError, match="near-duplicates"):
        ranked(colours, here, group_by="near-duplicates")


def test_rank_one_image_per_class_raises(tmp_path: Path, here: dict[str, Any]) -> None:
    for name, colour in COLOURS.items():
        save_image(tmp_path / "single" / name / "one.png", colour, np.random.default_rng(1))
    with pytest.raises(FolderError, match=r"no class of .* has two images"):
        ranked(tmp_path / "single", here)


def test_rank_two_images_per_class_outside_test_suffice(tmp_path: Path, here: dict[str, Any]) -> None:
    for name, colour in COLOURS.items():
        for number in range(3):
            save_image(tmp_path / "few" / name / f"{number}.png", colour, np.random.default_rng(number))
    ranking = ranked(tmp_path / "few", here, **BOTH)
    assert len(ranking.eligible) == 2


def test_rank_multi_label_reports_mean_average_precision(tmp_path: Path, here: dict[str, Any]) -> None:
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


# -- the cache, and interrupted rankings --


def test_extract_reuses_cached_features_of_ranking(colours: Path, here: dict[str, Any], passes: list[int]) -> None:
    images = ranked(colours, here).images
    passes.clear()
    progress = RecordedProgress()
    recipe = ExtractRecipe.load(settings=FAST)
    run = RunDirectory(here["place"].path.parent / "run")
    extract(TrainingRequest(ImageFolder.scan(colours), run, cache=here["cache"], progress=progress), recipe)
    assert f"{images} loaded from the feature cache" in progress.notes
    test = Split.read(run.split).counts()["test"]
    assert sum(passes) == test
    assert images + test == 36


def test_rank_reuses_cached_features_of_extract(colours: Path, here: dict[str, Any]) -> None:
    run = RunDirectory(here["place"].path.parent / "run")
    extract(TrainingRequest(ImageFolder.scan(colours), run, cache=here["cache"]), ExtractRecipe.load(settings=FAST))
    progress = RecordedProgress()
    images = ranked(colours, here, progress=progress).images
    assert f"{images} loaded from the feature cache" in progress.notes
    # Another image size gives other features.
    other = RecordedProgress()
    bigger = ExtractRecipe.load(settings={**FAST, "images.size": 64})
    extract(
        TrainingRequest(
            ImageFolder.scan(colours), RunDirectory(run.path / "other"), cache=here["cache"], progress=other
        ),
        bigger,
    )
    assert not any("feature cache" in note for note in other.notes)


def test_rank_interrupted_continues(
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
    ranking = ranked(colours, here, **BOTH)
    # The second candidate was timed already: only its features are computed.
    assert sum(passes) == ranking.images
    finished = [path for path, data in written.items() if path.read_bytes() == data]
    assert len(finished) == 1
    unbroken = ranked(colours, {**here, "place": RankingDirectory(here["place"].path.parent / "unbroken")}, **BOTH)
    assert [row.log_loss for row in unbroken.rows] == [row.log_loss for row in ranking.rows]


def test_rank_other_images_get_new_records(colours: Path, here: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    ranked(folder, here)
    for number in range(12, 16):
        save_image(folder / "red" / f"{number}.png", COLOURS["blue"], np.random.default_rng(number))
    progress = RecordedProgress()
    assert ranked(folder, here, progress=progress).images > 0
    assert len([*here["place"].candidates.iterdir()]) == 2


def test_rank_and_ensemble_time_batches_of_the_same_size(
    colours: Path, trained: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def seen(work: Any, images: int) -> float:
        shapes.append((images, *work.args[0].shape[:-1]))
        return 1.0

    monkeypatch.setattr(latency, "ms_per_image", seen)
    monkeypatch.setattr(candidate_score, "ms_per_image", seen)
    opened = [ModelBundle.open(trained)]
    # The network, and the classifier on its features.
    assert latency.MemberCosts.measure(load_members(opened), opened).alone(0).milliseconds == 2
    of_ensemble = shapes[0]
    shapes.clear()
    # Although the folder has fewer images than a batch.
    assert [row.ms_per_image for row in ranked(colours, here).rows] == [1]
    assert [shape[:2] for shape in shapes] == [of_ensemble[:2]] == [(latency.BATCH, latency.BATCH)]


@pytest.mark.parametrize("damage", ["{", "accuracy", "ms_per_image"])
def test_rank_damaged_record_is_evaluated_again(
    damage: str, colours: Path, here: dict[str, Any], passes: list[int]
) -> None:
    first = ranked(colours, here)
    [path] = here["place"].candidates.iterdir()
    record = json.loads(path.read_text())
    if damage == "accuracy":
        record["accuracy"]["value"] = 0.123
        damage = json.dumps(record)
    elif damage == "ms_per_image":
        damage = json.dumps({word: value for word, value in record.items() if word != "ms_per_image"})
    path.write_text(damage)
    passes.clear()
    progress = RecordedProgress()
    again = ranked(colours, here, progress=progress)
    assert any("is evaluated again" in warning for warning in progress.warnings)
    assert passes
    assert again.rows[0].accuracy == first.rows[0].accuracy


def test_rank_image_deleted_meanwhile_raises(
    colours: Path, here: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(colours, tmp_path / "folder"))
    choose = sample.ranking_sample

    def then_gone(*given: Any) -> sample.RankingSample:
        selected = choose(*given)
        (folder / selected.folder.files[-1].path).unlink()
        return selected

    monkeypatch.setattr("transfer_cli.ranking.rank.ranking_sample", then_gone)
    with pytest.raises(ImageError, match="changed while they were read"):
        ranked(folder, here)


# -- limits --


def test_rank_max_mb_skips_large_candidates(colours: Path, here: dict[str, Any], passes: list[int]) -> None:
    ranking = ranked(colours, here, max_mb=1.0)
    assert passes == []
    assert ranking.best is None
    assert ranking.rows[0].left_out == "over 1 MB: not tried"
    assert ranked(colours, here, max_mb=4.0).best is not None


def test_rank_max_ms_excludes_slow_candidates(colours: Path, here: dict[str, Any]) -> None:
    ranking = ranked(colours, here, max_ms=1e-6)
    assert ranking.best is None
    assert ranking.rows[0].left_out == "over 1e-06 ms/image"
    assert ranking.rows[0].log_loss is None
    # It was timed; the score is computed once the limit allows it.
    assert ranked(colours, here, max_ms=1e6).best is not None
    with_score = ranked(colours, here, max_ms=1e-6).rows[0]
    assert with_score.log_loss is not None
    assert with_score.left_out


def test_rank_time_budget_scores_at_least_the_cheapest(colours: Path, here: dict[str, Any]) -> None:
    among = {"among": ["embedded", "mobilenet@0.25"], "weights": ["embedded", "none"]}
    ranking = ranked(colours, here, time_budget=0.0, **among)
    assert [row.left_out for row in ranking.rows] == ["", *["not tried: no time left"] * 2]
    # Known results need no time.
    ranked(colours, here, **BOTH)
    assert len(ranked(colours, here, time_budget=0.0, **among).eligible) == 2


def test_rank_by_logme_fits_no_classifier(
    colours: Path, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    from transfer_cli.classifiers import fit

    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit", None)
        ranking = ranked(colours, here, by=LOGME, **BOTH)
    assert [row.log_loss for row in ranking.rows] == [None, None]
    assert ranking.rows[0].logme > ranking.rows[1].logme  # type: ignore[operator]
    passes.clear()
    # The classifier needs no further forward passes, and LogME stays the same.
    whole = ranked(colours, here, **BOTH)
    assert passes == []
    assert {row.name: row.logme for row in whole.rows} == {row.name: row.logme for row in ranking.rows}


def test_rank_of_a_network_that_cannot_be_downloaded_raises(colours: Path, here: dict[str, Any]) -> None:
    for among in (["mobilenet@0.25"], ["embedded", "mobilenet@0.25"]):
        with pytest.raises(WeightsError, match="needs a one-time download"):
            ranked(colours, here, among=among, download=True, offline=True)
