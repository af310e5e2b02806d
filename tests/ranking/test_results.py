"""The best candidate, those within noise of it, and the Pareto fronts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transfer_cli.catalog.backbones import find, names
from transfer_cli.errors import InputError, OutputError, RunConflictError, UnknownNameError, WeightsError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.ranking.candidates import Candidate, Candidates
from transfer_cli.ranking.options import LOGME, PROBE, RankOptions
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.ranking.results import CandidateScore, Ranking, pareto


def lay_weights(*backbones: str) -> None:
    """Create empty files with the names of weights in the cache of Keras."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    for name in backbones:
        spec = find(name)
        (cache_folder() / spec.weights_file(top=False, size=spec.size).name).touch()


def scored(name: str, log_loss: float | None, ms: float, correct: int = 0, **words: object) -> CandidateScore:
    vector = np.arange(200) < correct
    return CandidateScore(Candidate(name, "imagenet"), ms, "litert", log_loss, correct=vector, **words)  # type: ignore[arg-type]


def ranking(*rows: CandidateScore, by: str = PROBE) -> Ranking:
    facts = {"source": Path("photos"), "images": 200, "classes": 3, "seed": 0}
    return Ranking.of(rows, by, **facts)  # type: ignore[arg-type]


def dominated(costs: np.ndarray, scores: np.ndarray, row: int) -> bool:
    """Return whether a point is dominated, by the definition."""
    others = zip(costs, scores, strict=True)
    return any(
        cost <= costs[row] and score >= scores[row] and (cost < costs[row] or score > scores[row])
        for cost, score in others
    )


@pytest.mark.parametrize("seed", range(5))
def test_pareto_keeps_exactly_the_points_that_none_dominates(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs, scores = random.integers(0, 6, 30).astype(float), random.integers(0, 6, 30).astype(float)
    expected = [not dominated(costs, scores, row) for row in range(30)]
    assert pareto(costs, scores).tolist() == expected
    # Counter-check: with costs negated the front differs.
    assert pareto(-costs, scores).tolist() != expected


def test_of_orders_best_first_and_left_out_last() -> None:
    slow = scored("resnet50", 0.1, 50.0, left_out="over 10 ms/image")
    ranked = ranking(slow, scored("mobilenet", 0.5, 2.0), scored("mobilenet_v2", 0.4, 3.0))
    assert [row.name for row in ranked.rows] == ["mobilenet_v2", "mobilenet", "resnet50"]
    assert ranked.best is ranked.rows[0]
    assert slow.candidate not in ranked.front("ms_per_image") | ranked.within_noise


def test_of_equal_scores_prefers_smaller_weights() -> None:
    ranked = ranking(scored("resnet50", 0.5, 1.0), scored("mobilenet@0.25", 0.5, 2.0))
    assert [row.name for row in ranked.rows] == ["mobilenet@0.25", "resnet50"]


def test_within_noise_lists_candidates_not_significantly_worse() -> None:
    best, near, far = (
        scored("resnet50", 0.2, 9.0, 150),
        scored("mobilenet", 0.3, 2.0, 148),
        scored("xception", 0.4, 5.0, 90),
    )
    ranked = ranking(best, near, far)
    assert ranked.within_noise == {best.candidate, near.candidate}
    assert ranked.cheaper is not None
    assert ranked.cheaper.name == "mobilenet"


def test_within_noise_grows_with_the_number_of_candidates() -> None:
    # 7 discordant images to 0: p = 0.016, which is not significant among five candidates.
    best, other = scored("resnet50", 0.2, 9.0, 107), scored("mobilenet", 0.3, 2.0, 100)
    assert ranking(best, other).within_noise == {best.candidate}
    more = [scored(name, 0.5, 3.0, 100) for name in ("xception", "vgg16", "vgg19", "densenet121")]
    assert other.candidate in ranking(best, other, *more).within_noise


def test_within_noise_by_logme_is_empty() -> None:
    ranked = ranking(scored("resnet50", 0.1, 5.0, logme=0.1), scored("mobilenet", 0.9, 5.0, logme=0.2), by=LOGME)
    assert ranked.best is not None
    assert ranked.best.name == "mobilenet"
    assert ranked.within_noise == frozenset()


def test_write_json_and_csv(tmp_path: Path) -> None:
    place = RankingDirectory(tmp_path / "ranked")
    ranked = ranking(scored("resnet50", 0.2, 9.0, 150), scored("mobilenet", None, 2.0, left_out="over 1 ms/image"))
    place.write(ranked)
    rows = read_table(place.table, ("backbone", "pareto_megabytes", "left_out"))
    assert [(row["backbone"], row["log_loss"], row["left_out"]) for row in rows] == [
        ("resnet50", "0.2", ""),
        ("mobilenet", "", "over 1 ms/image"),
    ]


def test_check_free_rejects_foreign_folders(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(RunConflictError, match="holds no ranking"):
        RankingDirectory(tmp_path / "mine").check_free(tmp_path / "photos")
    with pytest.raises(OutputError, match="inside the image folder"):
        RankingDirectory(tmp_path / "photos" / "ranked").check_free(tmp_path / "photos")
    place = RankingDirectory(tmp_path / "ranked")
    place.candidates.mkdir(parents=True)
    place.write(ranking(scored("resnet50", 0.2, 9.0)))
    with pytest.raises(RunConflictError, match=f"the folder is .* there and {tmp_path / 'photos'} here"):
        place.check_free(tmp_path / "photos")
    place.check_free(Path("photos"))


def test_check_matches_names_the_options_as_they_were_typed(tmp_path: Path) -> None:
    place, source = RankingDirectory(tmp_path / "ranked"), tmp_path / "photos"
    command = "transfer-cli rank photos --among mobilenet* --max-ms 20"
    options = RankOptions(among=("mobilenet*",), max_ms=20.0)
    place.check_matches(source, options.settings(None), command.split())
    place.write_settings(source, options.settings(None), command.split())
    # More weights and more time continue a ranking.
    place.check_matches(source, replace(options, download=True).settings(None), [*command.split(), "--download"])
    other = RankOptions(images=100, by="logme", seed=1)
    with pytest.raises(RunConflictError) as caught:
        place.check_matches(source, other.settings(None), ["transfer-cli", "rank", "photos", "--score", "logme"])
    assert caught.value.differences == (
        "--among is mobilenet* there and not given here",
        "--score is probe there and logme here",
        "--max-images is 2000 there and 100 here",
        "--max-ms is 20 there and not given here",
        "--seed is 0 there and 1 here",
    )
    with pytest.raises(RunConflictError, match="the folder is"):
        place.check_matches(tmp_path, options.settings(None), command.split())


def test_check_matches_ranking_of_an_earlier_version_compares_the_folder(tmp_path: Path) -> None:
    place = RankingDirectory(tmp_path / "ranked")
    place.write(ranking(scored("resnet50", 0.2, 9.0)))
    place.check_matches(Path("photos"), RankOptions(seed=5).settings(None), [])


def test_select_default_lists_installed_cheapest_first() -> None:
    lay_weights("resnet50", "mobilenet@0.25")
    candidates = Candidates.select()
    assert [one.name for one in candidates.available] == ["embedded", "mobilenet@0.25", "resnet50"]
    assert {one.backbone for one in [*candidates.available, *candidates.missing]} == {
        name for name in names() if find(name).is_pretrained
    }


def test_select_kinds_of_weights_apply_where_available() -> None:
    lay_weights("mobilenet@0.25")
    candidates = Candidates.select(["mobilenet@0.25", "embedded", "lenet5"], ["imagenet", "embedded", "none"])
    assert {(one.backbone, one.weights) for one in candidates.available} == {
        ("mobilenet@0.25", "imagenet"),
        ("mobilenet@0.25", "none"),
        ("embedded", "embedded"),
        ("embedded", "none"),
        ("lenet5", "none"),
    }


def test_select_random_weights_only_for_installed_backbones() -> None:
    lay_weights("mobilenet@0.25")
    candidates = Candidates.select(weights=["imagenet", "none"])
    random = "weights none"
    assert [one.name for one in candidates.available] == [
        f"embedded, {random}",
        "mobilenet@0.25",
        f"mobilenet@0.25, {random}",
    ]
    assert {one.weights for one in candidates.missing} == {"imagenet"}
    assert len(Candidates.select(["mobilenet_v2*"], ["none"]).available) == 6


def test_select_pattern_lists_installed_and_missing() -> None:
    lay_weights("mobilenet_v2@0.35")
    candidates = Candidates.select(["mobilenet-v2*"])
    assert [one.name for one in candidates.available] == ["mobilenet_v2@0.35"]
    assert "mobilenet_v2" in [one.name for one in candidates.missing]
    assert len(Candidates.select(["mobilenet-v2*"], download=True).available) == len(candidates.available) + len(
        candidates.missing
    )


def test_select_unknown_or_missing_raises_with_hint() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean mobilenet"):
        Candidates.select(["mobilent*"])
    with pytest.raises(UnknownNameError, match="Did you mean imagenet"):
        Candidates.select(["mobilenet"], ["imagnet"])
    with pytest.raises(WeightsError, match="resnet50") as named:
        Candidates.select(["resnet50"])
    assert "--download" in str(named.value.hint)
    assert "weights fetch resnet50" in str(named.value.hint)
    with pytest.raises(WeightsError, match="No weights of") as matched:
        Candidates.select(["resnet*"])
    assert "--download" in str(matched.value.hint)
    with pytest.raises(InputError, match="None of lenet5 has pretrained weights"):
        Candidates.select(["lenet5"])
