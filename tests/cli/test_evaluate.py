"""``transfer-cli evaluate`` and ``compare`` as a person meets them."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import TINY_WORDS, save_picture
from tests.hostile_files import reseal
from transfer_cli.bundle.training_images import LEARNT_FILE
from transfer_cli.cli.main import main


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def copy(folder: Path, target: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(folder / name, target / name)
    return target


def read_split(run: Path) -> dict[str, str]:
    return {row["path"]: row["part"] for row in rows_of(run / "split.csv")}


def figure(figures: dict[str, dict[str, float]], name: str = "accuracy") -> str:
    value = figures[name]
    images = int(figures["images"]["value"])
    interval = f"95 % interval {value['low']:.3f} to {value['high']:.3f}"
    return f"accuracy {value['value']:.3f} ({interval}; {images} pictures)"


def test_what_a_person_sees(copy_of_trained: Path, colours: Path) -> None:
    code, out, err = call("evaluate", copy_of_trained, colours)
    place = copy_of_trained / "evaluations/colours"
    assert (code, out) == (0, f"{place}\n")
    metrics = json.loads((place / "metrics.json").read_text())
    assert list(metrics) == ["all", "unseen"]
    learnt = {row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["part"] == "train"}
    lines = [line for line in err.splitlines() if not line.startswith(("loading", "predicting", "scoring"))]
    unseen = metrics["unseen"]["accuracy"]["value"]
    assert lines[:3] == [
        f"all   {figure(metrics['all'])}",
        f"unseen {figure(metrics['unseen'])}",
        f"warning: the run has learnt from {len(learnt)} of these pictures, which flatters the score; without them the "
        f"accuracy is {unseen:.3f}",
    ]
    assert lines[3].startswith("unseen found least: ")
    assert sorted(path.name for path in place.iterdir()) == [
        "confusion.csv",
        "curves.csv",
        "evaluation.json",
        "metrics.json",
        "pictures.csv",
        "predictions.csv",
        "skipped.csv",
    ]
    # The unseen ones are the test part: the figures are those of the run.
    own_figures = json.loads((copy_of_trained / "metrics.json").read_text())["test"]
    assert metrics["unseen"].keys() == own_figures.keys()
    for name, own_figure in own_figures.items():
        known = {word: value for word, value in own_figure.items() if value is not None}
        assert metrics["unseen"][name] == {
            **own_figure,
            **{word: pytest.approx(known[word], rel=1e-4) for word in known},
        }
    own = {row["path"]: row for row in rows_of(copy_of_trained / "predictions_test.csv")}
    table = {row["path"]: row for row in rows_of(place / "predictions.csv")}
    for path, row in own.items():
        assert (table[path]["class"], table[path]["label"]) == (row["class"], row["label"])
        assert float(table[path]["p_red"]) == pytest.approx(float(row["p_red"]), abs=2e-5)
    images = rows_of(place / "pictures.csv")
    assert {row["path"] for row in images if row["learnt"] == "yes"} == learnt
    first = images[0]
    assert first["sha256"] == hashlib.sha256((colours / first["path"]).read_bytes()).hexdigest()
    counts = [[int(cell) for cell in list(row.values())[1:]] for row in rows_of(place / "confusion.csv")]
    assert np.trace(counts) / np.sum(counts) == pytest.approx(metrics["all"]["accuracy"]["value"])
    assert (place / "skipped.csv").read_text() == "path,reason\n"
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert call("--quiet", "evaluate", copy_of_trained / "model", colours)[:2] == (0, f"{place}\n")
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".csv"} == {
        name: data for name, data in before.items() if name.endswith(".csv")
    }


def without_learnt(bundle: Path) -> Path:
    """Make a bundle one of those that do not say what they learnt from."""
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    del files[LEARNT_FILE]
    reseal(bundle, files=files)
    (bundle / LEARNT_FILE).unlink()
    return bundle


def test_a_copied_bundle_knows_what_it_learnt_from(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    known = [row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["part"] == "train"]
    for path in known:
        (tmp_path / "learnt" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, tmp_path / "learnt" / path)
    alone = Path(shutil.copytree(copy_of_trained / "model", tmp_path / "alone"))
    words = ["evaluate", alone, tmp_path / "learnt", "-o", tmp_path / "out"]
    code, _, err = call(*words, "--min-accuracy", "0.1")
    assert code == 6
    assert "warning: the run has learnt from all of these pictures, which flatters the score" in err
    assert err.splitlines()[-1].startswith("Evaluate pictures that it has not seen: transfer-cli evaluate ")
    # An older one is read by the run that it lies in; alone, nothing is known, and nothing can be judged.
    without_learnt(copy_of_trained / "model")
    code, out, _ = call("--json", "evaluate", copy_of_trained, colours)
    assert (code, json.loads(out)["learnt"], json.loads(out)["learnt_is_known"]) == (0, len(known), True)
    without_learnt(alone)
    code, _, err = call(*words, "--min-accuracy", "0.1")
    assert code == 6
    assert "warning: it is not known what this model has learnt from" in err
    assert "cannot be judged: it is not known what the model has learnt from" in err
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["learnt_is_known"] is False
    assert call(*words)[0] == 0


def test_pictures_that_a_run_was_chosen_by(finetuned: Path, colours: Path, tmp_path: Path) -> None:
    part_of = {row["path"]: row["part"] for row in rows_of(finetuned / "split.csv")}
    counts = Counter(part_of.values())
    assert set(counts) == {"train", "val", "test"}
    code, out, err = call("--json", "evaluate", finetuned, colours, "-o", tmp_path / "out")
    facts = json.loads(out)
    assert (code, facts["learnt"], facts["chosen"]) == (0, counts["train"], counts["val"])
    assert facts["metrics"]["unseen"]["images"]["value"] == counts["test"]
    said = f"the run has learnt from {counts['train']} of these pictures and was chosen by {counts['val']} (epoch"
    assert said in err
    words = {"train": "yes", "val": "chosen", "test": "no"}
    table = {row["path"]: row["learnt"] for row in rows_of(tmp_path / "out/pictures.csv")}
    assert table == {path: words[part] for path, part in part_of.items()}
    for path in (path for path, part in part_of.items() if part == "val"):
        (tmp_path / "val" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, tmp_path / "val" / path)
    assert call("evaluate", finetuned, tmp_path / "val", "-o", tmp_path / "of val", "--min-accuracy", "0")[0] == 6


def test_some_of_the_classes_a_gate_and_a_broken_picture(trained: Path, colours: Path, tmp_path: Path) -> None:
    folder = copy(colours, tmp_path / "mine", "red")
    save_picture(folder / "red/wrong.png", (30, 40, 200), np.random.default_rng(0))
    (folder / "red/broken.jpg").write_bytes(b"no picture")
    words = ["evaluate", trained, folder, "-o", tmp_path / "out"]
    code, out, err = call("--json", "--quiet", *words)
    assert code == 5
    facts = json.loads(out)
    assert facts["output"] == str(tmp_path / "out")
    assert [item["path"] for item in facts["skipped"]] == ["red/broken.jpg"]
    assert facts["metrics"] == json.loads((tmp_path / "out/metrics.json").read_text())
    assert facts["metrics"]["all"]["support/blue"]["value"] == 0
    assert facts["classes_without_pictures"] == ["blue", "green"]
    assert facts["metrics"]["unseen"]["images"]["value"] == 13 - facts["learnt"]
    assert rows_of(tmp_path / "out/skipped.csv")[0]["path"] == "red/broken.jpg"
    (folder / "green").mkdir()
    code, out, err = call(*words, "--min-accuracy", "1")
    assert (code, out) == (6, f"{tmp_path / 'out'}\n")
    assert "left out: 1 folder without pictures (green)" in err.splitlines()
    assert "warning: no picture of blue, green: this score says nothing of them" in err.splitlines()
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    accuracy = facts["metrics"]["unseen"]["accuracy"]["value"]
    assert said[0].startswith(f"error: The accuracy on unseen is {accuracy:.3f} (95 % interval ")
    assert said[0].endswith(f"below the bar of 1 (--min-accuracy). The evaluation is in {tmp_path / 'out'}.")
    assert call(*words, "--min-accuracy", "0.01")[0] == 5
    assert call(*words, "--strict")[0] == 3


def test_parts_and_tables(trained: Path, colours: Path, tmp_path: Path) -> None:
    folder = tmp_path / "laid-out"
    copy(colours, folder / "test", "red", "blue")
    copy(colours, folder / "val", "green")
    code, out, _ = call("--json", "--quiet", "evaluate", trained, folder, "-o", tmp_path / "both")
    assert code == 0
    assert list(json.loads(out)["metrics"]) == ["all", "val", "test", "unseen"]
    code, out, _ = call("--json", "--quiet", "evaluate", trained, folder, "--part", "test", "-o", tmp_path / "test")
    metrics = json.loads(out)["metrics"]
    assert (code, list(metrics), metrics["test"]["images"]["value"]) == (0, ["test", "unseen"], 24)
    code, _, err = call("evaluate", trained, folder, "--part", "train", "-o", tmp_path / "train")
    assert code == 3
    assert "has no part train. Received: pictures of val, test." in err
    table = tmp_path / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path},red\n" for path in sorted((colours / "red").iterdir())))
    code, out, _ = call("--json", "--quiet", "evaluate", trained, table, "-o", tmp_path / "of table")
    assert json.loads(out)["metrics"]["all"]["images"]["value"] == 12
    table.write_text(table.read_text().replace("path,label\n", "path,labels\n"))
    code, _, err = call("evaluate", trained, table, "-o", tmp_path / "labels")
    assert code == 3
    assert "The model is single-label, and" in err


def test_what_stands_in_the_way(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    folder = copy(colours, tmp_path / "mine", "red")
    shutil.copytree(colours / "blue", folder / "blu")
    code, _, err = call("evaluate", copy_of_trained, folder)
    assert code == 3
    assert err.splitlines()[-4:] == [
        f"error: {folder} has classes that the model does not know: blu (did you mean blue?).",
        "Expected some of: blue, green, red.",
        "Received: blu, red.",
        "Rename the folders, or the labels, as the model has them.",
    ]
    assert not (copy_of_trained / "evaluations").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    code, _, err = call("evaluate", copy_of_trained, colours, "-o", tmp_path / "full")
    assert code == 3
    assert "is there already, and is no evaluation. " not in err
    assert (tmp_path / "full/letter.txt").is_file()
    assert call("evaluate", copy_of_trained, colours, "-o", tmp_path / "first")[0] == 0
    code, _, err = call("evaluate", copy_of_trained, copy(colours, tmp_path / "other", "red"), "-o", tmp_path / "first")
    assert code == 3
    assert f"holds an evaluation of {colours.resolve()}." in err
    bundle = Path(shutil.copytree(copy_of_trained / "model", tmp_path / "alone"))
    known = {row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["part"] == "train"}
    code, _, err = call("evaluate", bundle, colours)
    assert code == 2
    assert "does not lie in a run: say with -o DIR where to write." in err
    code, out, err = call("--json", "evaluate", bundle, colours, "-o", tmp_path / "by bundle")
    assert (code, json.loads(out)["learnt"]) == (0, len(known))
    assert call("evaluate", tmp_path / "nothing", colours)[0] == 4
    code, _, err = call("evaluate", colours, copy_of_trained)
    assert code == 2
    assert err.splitlines()[-2:] == [
        f"Error: {copy_of_trained} is a model and {colours} is none: the model comes first.",
        f"transfer-cli evaluate {copy_of_trained} {colours}",
    ]
    learnt = copy(colours, tmp_path / "learnt", "red")
    for path in learnt.rglob("*.png"):
        if path.relative_to(learnt).as_posix() not in known:
            path.unlink()
    code, _, err = call("evaluate", copy_of_trained, learnt, "--min-accuracy", "0")
    assert code == 6
    assert "warning: the run has learnt from all of these pictures, which flatters the score" in err
    assert "cannot be judged: there are no pictures of unseen." in err


def test_compare(trained: Path, finetuned: Path, colours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert call("--quiet", "extract", colours, *TINY_WORDS, "--classifier", "knn", "-o", other)[0] == 0
    code, out, err = call("compare", trained, other)
    assert code == 0, err
    header, *rows = out.splitlines()
    assert header.split("  ")[0] == "run"
    assert [row.split()[0] for row in rows] == [str(trained), str(other)]
    metrics = [json.loads((run / "metrics.json").read_text())["test"] for run in (trained, other)]
    images = int(metrics[0]["images"]["value"])
    assert f"{images} pictures (test), the same for all" in err.splitlines()
    facts = json.loads(call("--json", "compare", trained, other)[1])
    assert (facts["images"], facts["part"], facts["left_out"]) == (images, "test", [])
    leading = facts["leading"]
    assert facts["best"] == (leading[0] if len(leading) == 1 else None)
    said = "the best" if len(leading) == 1 else f"as many right as {leading[-1]}"
    assert [row.startswith(leading[0]) for row in rows] == [row.endswith(said) for row in rows]
    for run, own in zip((trained, other), metrics, strict=True):
        for name in ("accuracy", "macro_f1", "log_loss"):
            assert facts["runs"][str(run)][name]["value"] == pytest.approx(own[name]["value"], rel=1e-6)
    (pair,) = facts["pairs"]
    assert pair["p"] == pair["p_adjusted"]
    # The run with a val part has lent it a test picture.
    code, _, err = call("compare", trained, finetuned)
    assert code == 3
    assert f"{images} and {images - 1}, of which {images - 1} are the same by content." in err
    assert err.splitlines()[-2:] == [f"transfer-cli evaluate {run} {colours}" for run in (trained, finetuned)]
    # What one of them has learnt from is left out for both.
    for run, name in ((trained, "one"), (finetuned, "two")):
        assert call("--quiet", "evaluate", run, colours, "-o", tmp_path / name)[0] == 0
    code, out, err = call("--json", "compare", tmp_path / "one", tmp_path / "two")
    left_out = json.loads(out)["left_out"]
    assert (code, json.loads(out)["images"]) == (0, 36 - len(left_out))
    splits = [rows_of(run / "split.csv") for run in (trained, finetuned)]
    assert set(left_out) == {row["path"] for split in splits for row in split if row["part"] != "test"}
    assert (
        f"warning: left out: {len(left_out)} pictures that one of them has learnt from or was chosen by: blue/" in err
    )
    # Elsewhere, in parts, the same pictures are the same; what cannot be compared is answered with what can be typed.
    split = read_split(trained)
    for path, part in split.items():
        place = tmp_path / "parted" / part / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, place)
    assert call("--quiet", "evaluate", trained, tmp_path / "parted", "-o", tmp_path / "three")[0] == 0
    code, out, err = call("--json", "compare", tmp_path / "one", tmp_path / "three")
    assert (code, json.loads(out)["images"], json.loads(out)["elsewhere"]) == (0, images, 36)
    assert json.loads(out)["best"] is None
    part = copy(tmp_path / "parted", tmp_path / "part", "train")
    assert call("--quiet", "evaluate", finetuned, part, "-o", tmp_path / "four")[0] == 0
    code, _, err = call("compare", tmp_path / "one", tmp_path / "four")
    assert code == 3
    assert err.splitlines()[-2:] == [f"transfer-cli evaluate {run} {colours}" for run in (trained, finetuned)]
    assert call("compare", trained)[0] == 2
    assert call("compare", trained, tmp_path)[0] == 3
