"""Which of some candidates is best, which are as good, and which are on the front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_cli.catalog.backbones import find, names
from transfer_cli.errors import InputError, OutputError, UnknownNameError, WeightsError
from transfer_cli.io.csv_tables import read_table
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.ranking.candidates import Candidate, Candidates
from transfer_cli.ranking.results import LOGME, PROBE, CandidateScore, Ranking, RankingDirectory, pareto


def lay_weights(*backbones: str) -> None:
    """Put files with the names of weights where they are looked for."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    for name in backbones:
        spec = find(name)
        (cache_folder() / spec.weights_file(top=False, size=spec.size).name).touch()


def rated(name: str, log_loss: float | None, ms: float, right: int = 0, **words: object) -> CandidateScore:
    vector = np.arange(200) < right
    return CandidateScore(Candidate(name, "imagenet"), ms, "litert", log_loss, right=vector, **words)  # type: ignore[arg-type]


def ranking(*rows: CandidateScore, by: str = PROBE) -> Ranking:
    facts = {"source": Path("photos"), "images": 200, "classes": 3, "seed": 0}
    return Ranking.of(rows, by, **facts)  # type: ignore[arg-type]


def dominated(costs: np.ndarray, scores: np.ndarray, row: int) -> bool:
    """Return whether a point is dominated, by the words of the definition."""
    others = zip(costs, scores, strict=True)
    return any(
        cost <= costs[row] and score >= scores[row] and (cost < costs[row] or score > scores[row])
        for cost, score in others
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_none_dominates(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs, scores = random.integers(0, 6, 30).astype(float), random.integers(0, 6, 30).astype(float)
    expected = [not dominated(costs, scores, row) for row in range(30)]
    assert pareto(costs, scores).tolist() == expected
    # A front that took cost for worth would be another one.
    assert pareto(-costs, scores).tolist() != expected


def test_the_best_goes_first_and_what_is_over_a_bound_last() -> None:
    slow = rated("resnet50", 0.1, 50.0, left_out="over 10 ms")
    found = ranking(slow, rated("mobilenet", 0.5, 2.0), rated("mobilenet_v2", 0.4, 3.0))
    assert [row.name for row in found.rows] == ["mobilenet_v2", "mobilenet", "resnet50"]
    assert found.best is found.rows[0]
    assert slow.candidate not in found.front("milliseconds") | found.within_noise


def test_equal_scores_go_to_the_smaller_one() -> None:
    found = ranking(rated("resnet50", 0.5, 1.0), rated("mobilenet@0.25", 0.5, 2.0))
    assert [row.name for row in found.rows] == ["mobilenet@0.25", "resnet50"]


def test_within_noise_is_who_has_as_many_right_as_far_as_the_pictures_tell() -> None:
    best, near, far = (
        rated("resnet50", 0.2, 9.0, 150),
        rated("mobilenet", 0.3, 2.0, 148),
        rated("xception", 0.4, 5.0, 90),
    )
    found = ranking(best, near, far)
    assert found.within_noise == {best.candidate, near.candidate}
    assert found.cheaper is not None
    assert found.cheaper.name == "mobilenet"


def test_of_many_candidates_fewer_are_told_apart() -> None:
    # 7 pictures against none: p = 0.016, which of five is no longer significant.
    best, other = rated("resnet50", 0.2, 9.0, 107), rated("mobilenet", 0.3, 2.0, 100)
    assert ranking(best, other).within_noise == {best.candidate}
    more = [rated(name, 0.5, 3.0, 100) for name in ("xception", "vgg16", "vgg19", "densenet121")]
    assert other.candidate in ranking(best, other, *more).within_noise


def test_by_logme_no_noise_is_known() -> None:
    found = ranking(rated("resnet50", 0.1, 5.0, logme=0.1), rated("mobilenet", 0.9, 5.0, logme=0.2), by=LOGME)
    assert found.best is not None
    assert found.best.name == "mobilenet"
    assert found.within_noise == frozenset()


def test_a_ranking_is_written_as_json_and_csv(tmp_path: Path) -> None:
    place = RankingDirectory(tmp_path / "ranked")
    found = ranking(rated("resnet50", 0.2, 9.0, 150), rated("mobilenet", None, 2.0, left_out="over 1 ms"))
    place.write(found)
    rows = read_table(place.table, ("backbone", "front_megabytes", "left_out"))
    assert [(row["backbone"], row["log_loss"], row["left_out"]) for row in rows] == [
        ("resnet50", "0.2", ""),
        ("mobilenet", "", "over 1 ms"),
    ]


def test_a_place_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputError, match="holds no ranking"):
        RankingDirectory(tmp_path / "mine").must_be_free(tmp_path / "photos")
    with pytest.raises(OutputError, match="inside the folder"):
        RankingDirectory(tmp_path / "photos" / "ranked").must_be_free(tmp_path / "photos")
    place = RankingDirectory(tmp_path / "ranked")
    place.candidates.mkdir(parents=True)
    place.write(ranking(rated("resnet50", 0.2, 9.0)))
    with pytest.raises(OutputError, match="another folder"):
        place.must_be_free(tmp_path / "photos")
    place.must_be_free(Path("photos"))


def test_all_that_is_here_the_cheapest_first() -> None:
    lay_weights("resnet50", "mobilenet@0.25")
    found = Candidates.among()
    assert [one.name for one in found.ready] == ["embedded", "mobilenet@0.25", "resnet50"]
    assert {one.backbone for one in [*found.ready, *found.absent]} == {
        name for name in names() if find(name).is_pretrained
    }


def test_weights_are_taken_of_each_backbone_that_has_them() -> None:
    lay_weights("mobilenet@0.25")
    found = Candidates.among(["mobilenet@0.25", "embedded", "lenet5"], ["imagenet", "embedded", "none"])
    assert {(one.backbone, one.weights) for one in found.ready} == {
        ("mobilenet@0.25", "imagenet"),
        ("mobilenet@0.25", "none"),
        ("embedded", "embedded"),
        ("embedded", "none"),
        ("lenet5", "none"),
    }


def test_random_weights_are_set_beside_those_that_are_here() -> None:
    lay_weights("mobilenet@0.25")
    found = Candidates.among(weights=["imagenet", "none"])
    random = "weights none"
    assert [one.name for one in found.ready] == [f"embedded, {random}", "mobilenet@0.25", f"mobilenet@0.25, {random}"]
    assert {one.weights for one in found.absent} == {"imagenet"}
    assert len(Candidates.among(["mobilenet_v2*"], ["none"]).ready) == 6


def test_of_a_pattern_those_that_are_here_are_taken() -> None:
    lay_weights("mobilenet_v2@0.35")
    found = Candidates.among(["mobilenet-v2*"])
    assert [one.name for one in found.ready] == ["mobilenet_v2@0.35"]
    assert "mobilenet_v2" in [one.name for one in found.absent]
    assert len(Candidates.among(["mobilenet-v2*"], download=True).ready) == len(found.ready) + len(found.absent)


def test_what_cannot_be_ranked_is_said() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean mobilenet"):
        Candidates.among(["mobilent*"])
    with pytest.raises(UnknownNameError, match="Did you mean imagenet"):
        Candidates.among(["mobilenet"], ["imagnet"])
    with pytest.raises(WeightsError, match="resnet50") as named:
        Candidates.among(["resnet50"])
    assert "--download" in str(named.value.hint)
    assert "weights fetch resnet50" in str(named.value.hint)
    with pytest.raises(WeightsError, match="None of the weights of") as matched:
        Candidates.among(["resnet*"])
    assert "--download" in str(matched.value.hint)
    with pytest.raises(InputError, match="weights that were learnt"):
        Candidates.among(["lenet5"])
