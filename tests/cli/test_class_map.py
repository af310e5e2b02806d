"""--class-map and --omit as users type them: trained, repeated, changed, evaluated, and 1000 ImageNet classes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import TINY, TINY_WORDS
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.cli.main import main
from transfer_cli.data.split import Split

MAP = "from,to\nred,warm\ngreen,cold\nblue,cold\n"


def call(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, words)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def notes(err: str) -> list[str]:
    """Return the lines about the tables."""
    return [line for line in err.splitlines() if line.startswith(("left out", "class map", "error"))]


@pytest.mark.integration
def test_extract_with_tables_is_kept_repeated_and_evaluated(colours: Path, tmp_path: Path) -> None:
    class_map, omit, run = tmp_path / "map.csv", tmp_path / "omit.csv", tmp_path / "run"
    class_map.write_text(MAP)
    omit.write_text("path\nred/red 03.png\nblue/blue 04.png\n")
    train = ["--quiet", "extract", colours, *TINY_WORDS, "--no-tune", "-o", run]
    tables = ["--class-map", class_map, "--omit", omit]
    assert call(*train, *tables)[:2] == (0, f"{run}\n")
    rows = Split.read(run / "split.csv").rows
    assert Counter(row.labels for row in rows) == {("warm",): 11, ("cold",): 23}
    assert (run / "class_map.csv").read_bytes() == class_map.read_bytes()
    assert (run / "omit.csv").read_bytes() == omit.read_bytes()
    bundle, model = ModelBundle.read(run)
    assert bundle.recipe["classes"]["map"] == {"red": "warm", "green": "cold", "blue": "cold"}
    card = (model / "MODEL_CARD.md").read_text()
    assert "red → warm; green, blue → cold." in card
    assert bundle.recipe["classes"]["omit_sha256"] in card

    # The copies in the run are the same tables; others are another run.
    assert call(*train, "--class-map", run / "class_map.csv", "--omit", run / "omit.csv")[0] == 0
    code, _, err = call(*train, "--class-map", class_map)
    assert (code, "--omit is given there and not given here" in err) == (3, True)
    class_map.write_text(MAP.replace("blue,cold", "blue,"))
    code, _, err = call(*train, *tables)
    assert (code, "--class-map is another table there" in err) == (3, True)

    # New images are labelled as the folder was: the model brings its map, also without its run.
    new = tmp_path / "new"
    shutil.copytree(colours / "red", new / "red")
    shutil.copytree(colours / "blue", new / "cold")
    for source, place in ((run, run / "evaluations/new"), (model, tmp_path / "of bundle")):
        code, out, err = call("evaluate", source, new, "-o", place)
        assert (code, out) == (0, f"{place}\n")
        assert notes(err) == [f"class map of {source}: red → warm"]
        metrics = json.loads((place / "metrics.json").read_text())["all"]
        assert [metrics[f"support/{name}"]["value"] for name in ("warm", "cold")] == [12, 12]
    assert json.loads((place / "evaluation.json").read_text())["class_map"]["red"] == "warm"

    # With another table it is another evaluation.
    class_map.write_text("red,\ncold,warm\n")
    code, _, err = call("evaluate", run, new, "-o", place, "--class-map", class_map)
    assert (code, f"{place} holds an evaluation without --class-map." in err) == (3, True)
    code, _, err = call("evaluate", run, new, "-o", tmp_path / "other", "--class-map", class_map)
    assert (code, notes(err)) == (
        0,
        [
            "left out: 12 images of classes that the class map leaves out",
            f"class map {class_map}: cold → warm; red left out",
        ],
    )


@pytest.mark.parametrize("words", [["data", "check", "--no-probe"], ["rank"], ["lr-find"], ["finetune"], ["auto"]])
def test_unknown_class_is_an_input_error_in_each_command(colours: Path, tmp_path: Path, words: list[str]) -> None:
    class_map = tmp_path / "map.csv"
    class_map.write_text("grean,red\n")
    code, out, err = call("--offline", *words, colours, "--class-map", class_map, "-o", tmp_path / "x.png")
    assert (code, out) == (3, "")
    assert err == (
        f"error: {class_map} line 1: {colours} has no class grean. Did you mean green? Expected one of: blue, green, "
        "red.\nIf line 1 is a heading, it must be: from,to\n"
    )
    assert not (tmp_path / "x.png").exists()


def test_data_check_says_what_is_left_out(colours: Path, tmp_path: Path) -> None:
    class_map, omit = tmp_path / "map.tsv", tmp_path / "omit.txt"
    class_map.write_text("from\tto\nred\t\n", encoding="utf-16")
    omit.write_text(f"{colours}/blue/blue 00.png\n")
    words = ("data", "check", colours, "--no-probe", "--class-map", class_map, "--omit", omit, "-o", tmp_path / "check")
    code, _, err = call("--json", *words)
    assert (code, notes(err)) == (
        0,
        [
            f"class map {class_map}: red left out",
            "left out: 1 image listed in omit.txt, 12 images of classes that the class map leaves out",
        ],
    )
    data = json.loads((tmp_path / "check/check.json").read_text())
    assert (data["classes"], data["class_map"], data["omit"]) == ({"blue": 11, "green": 12}, {"red": ""}, str(omit))


def test_data_split_writes_the_new_classes(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(MAP)
    target = tmp_path / "split.csv"
    code, _, _ = call("data", "split", colours, "-o", target, "--class-map", tmp_path / "map.csv")
    assert code == 0
    assert {line.split(",")[1] for line in target.read_text().splitlines()[1:]} == {"warm", "cold"}


@pytest.mark.integration
def test_evaluate_imagenet_network_on_folders_of_numbers_and_names(
    shared: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    monkeypatch.chdir(tmp_path)
    for folder, source in (("train/n01440764", "red"), ("test/n01440764", "blue"), ("test/Great White Shark", "green")):
        shutil.copytree(colours / source, tmp_path / "fish" / folder)
    code, out, err = call("--offline", "--json", "evaluate", f"imagenet:{TINY}", "fish")
    assert code == 0, err
    place = tmp_path / f"evaluations/imagenet-{TINY}-fish"
    metrics = json.loads(out)["metrics"]
    assert metrics == json.loads((place / "metrics.json").read_text())
    assert [*metrics] == ["all", "train", "test"]
    assert [metrics["test"][f"support/{name}"]["value"] for name in ("tench", "great_white_shark")] == [12, 12]
    for part in metrics.values():
        for error, accuracy in (("top_1_error", "accuracy"), ("top_5_error", "top_5_accuracy")):
            assert part[error]["value"] == pytest.approx(1 - part[accuracy]["value"])
            assert 0 <= part[error]["low"] <= part[error]["high"] <= 1
    assert "36 images, among all 1,000 classes" in err
    assert "2 of the 1,000 ImageNet classes have images here" in err
    assert "trained on the ImageNet training set (ILSVRC 2012)" in err
