"""``transfer-cli evaluate`` and ``compare`` as users run them."""

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

from tests.conftest import TINY_WORDS, save_image
from tests.hostile_files import reseal
from transfer_cli.bundle.files import TRAINING_IMAGES_FILE
from transfer_cli.cli.main import main

pytestmark = pytest.mark.integration


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def copy(folder: Path, target: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(folder / name, target / name)
    return target


def read_split(run: Path) -> dict[str, str]:
    return {row["path"]: row["split"] for row in rows_of(run / "split.csv")}


def accuracy_text(metrics: dict[str, dict[str, float]], name: str = "accuracy") -> str:
    value = metrics[name]
    images = int(metrics["images"]["value"])
    interval = f"95 % interval {value['low']:.3f} to {value['high']:.3f}"
    return f"accuracy {value['value']:.3f} ({interval}; {images} images)"


def test_evaluate_training_folder_reports_unseen_images(copy_of_trained: Path, colours: Path) -> None:
    code, out, err = call("evaluate", copy_of_trained, colours)
    place = copy_of_trained / "evaluations/colours"
    assert (code, out) == (0, f"{place}\n")
    metrics = json.loads((place / "metrics.json").read_text())
    assert list(metrics) == ["all", "unseen"]
    training_paths = {row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["split"] == "train"}
    lines = [line for line in err.splitlines() if not line.startswith(("loading", "predicting", "computing metrics"))]
    unseen = metrics["unseen"]["accuracy"]["value"]
    assert lines[:3] == [
        f"all   {accuracy_text(metrics['all'])}",
        f"unseen {accuracy_text(metrics['unseen'])}",
        f"warning: the model was trained on {len(training_paths)} of these images: the score is too optimistic; "
        f"the accuracy without them is {unseen:.3f}",
    ]
    assert lines[3].startswith("unseen lowest recall: ")
    assert sorted(path.name for path in place.iterdir()) == [
        "confusion.csv",
        "curves.csv",
        "evaluation.json",
        "images.csv",
        "metrics.json",
        "predictions.csv",
        "skipped.csv",
    ]
    # The unseen images are the test set: the metrics equal those of the run.
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
        assert (table[path]["true_label"], table[path]["label"]) == (row["true_label"], row["label"])
        assert float(table[path]["p_red"]) == pytest.approx(float(row["p_red"]), abs=2e-5)
    images = rows_of(place / "images.csv")
    assert {row["path"] for row in images if row["training_role"] == "train"} == training_paths
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


def without_training_images(bundle: Path) -> Path:
    """Remove the record of the training images from a bundle, as in old bundles."""
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    del files[TRAINING_IMAGES_FILE]
    reseal(bundle, files=files)
    (bundle / TRAINING_IMAGES_FILE).unlink()
    return bundle


def test_evaluate_copied_bundle_recognises_training_images(
    copy_of_trained: Path, colours: Path, tmp_path: Path
) -> None:
    known = [row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["split"] == "train"]
    for path in known:
        (tmp_path / "train" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, tmp_path / "train" / path)
    alone = Path(shutil.copytree(copy_of_trained / "model", tmp_path / "alone"))
    arguments = ["evaluate", alone, tmp_path / "train", "-o", tmp_path / "out"]
    code, _, err = call(*arguments, "--min-accuracy", "0.1")
    assert code == 6
    assert "warning: the model was trained on all of these images: the score is too optimistic" in err
    assert err.splitlines()[-1].startswith("Evaluate other images: transfer-cli evaluate ")
    # Without the record the split of the run is used; for a bundle alone the training images are unknown.
    without_training_images(copy_of_trained / "model")
    code, out, _ = call("--json", "evaluate", copy_of_trained, colours)
    assert (code, json.loads(out)["trained_on"], json.loads(out)["training_images_known"]) == (0, len(known), True)
    without_training_images(alone)
    code, _, err = call(*arguments, "--min-accuracy", "0.1")
    assert code == 6
    assert "warning: this model does not record its training images" in err
    assert "cannot be checked: the model does not record its training images" in err
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["training_images_known"] is False
    assert call(*arguments)[0] == 0


def test_evaluate_recognises_validation_images(finetuned: Path, colours: Path, tmp_path: Path) -> None:
    part_of = {row["path"]: row["split"] for row in rows_of(finetuned / "split.csv")}
    counts = Counter(part_of.values())
    assert set(counts) == {"train", "val", "test"}
    code, out, err = call("--json", "evaluate", finetuned, colours, "-o", tmp_path / "out")
    data = json.loads(out)
    assert (code, data["trained_on"], data["selected_on"]) == (0, counts["train"], counts["val"])
    assert data["metrics"]["unseen"]["images"]["value"] == counts["test"]
    message = (
        f"the model was trained on {counts['train']} of these images, and {counts['val']} were used to select it (epoch"
    )
    assert message in err
    arguments = {"train": "train", "val": "val", "test": "unseen"}
    table = {row["path"]: row["training_role"] for row in rows_of(tmp_path / "out/images.csv")}
    assert table == {path: arguments[part] for path, part in part_of.items()}
    for path in (path for path, part in part_of.items() if part == "val"):
        (tmp_path / "val" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, tmp_path / "val" / path)
    assert call("evaluate", finetuned, tmp_path / "val", "-o", tmp_path / "of val", "--min-accuracy", "0")[0] == 6


def test_evaluate_some_classes_gate_and_broken_image(trained: Path, colours: Path, tmp_path: Path) -> None:
    folder = copy(colours, tmp_path / "mine", "red")
    save_image(folder / "red/wrong.png", (30, 40, 200), np.random.default_rng(0))
    (folder / "red/broken.jpg").write_bytes(b"no image")
    arguments = ["evaluate", trained, folder, "-o", tmp_path / "out"]
    code, out, err = call("--json", "--quiet", *arguments)
    assert code == 5
    data = json.loads(out)
    assert data["output"] == str(tmp_path / "out")
    assert [item["path"] for item in data["skipped"]] == ["red/broken.jpg"]
    assert data["metrics"] == json.loads((tmp_path / "out/metrics.json").read_text())
    assert data["metrics"]["all"]["support/blue"]["value"] == 0
    assert data["classes_without_images"] == ["blue", "green"]
    assert data["metrics"]["unseen"]["images"]["value"] == 13 - data["trained_on"]
    assert rows_of(tmp_path / "out/skipped.csv")[0]["path"] == "red/broken.jpg"
    (folder / "green").mkdir()
    code, out, err = call(*arguments, "--min-accuracy", "1")
    assert (code, out) == (6, f"{tmp_path / 'out'}\n")
    assert "left out: 1 folder without images (green)" in err.splitlines()
    assert "warning: no images of blue, green: these classes are not evaluated" in err.splitlines()
    assert "warning: all evaluated images are of the class red: the accuracy is the recall of this class" in err
    message = [line for line in err.splitlines() if line.startswith("error: ")]
    accuracy = data["metrics"]["unseen"]["accuracy"]["value"]
    assert message[0].startswith(f"error: The accuracy on unseen is {accuracy:.3f} (95 % interval ")
    assert message[0].endswith(f"below the required 1 (--min-accuracy). The evaluation is in {tmp_path / 'out'}.")
    assert call(*arguments, "--min-accuracy", "0.01")[0] == 5
    assert call(*arguments, "--strict")[0] == 3


def test_evaluate_split_folders_and_csv(trained: Path, colours: Path, tmp_path: Path) -> None:
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
    assert "has no train images. Received: a folder with val, test." in err
    table = tmp_path / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path},red\n" for path in sorted((colours / "red").iterdir())))
    code, out, _ = call("--json", "--quiet", "evaluate", trained, table, "-o", tmp_path / "of table")
    assert json.loads(out)["metrics"]["all"]["images"]["value"] == 12
    table.write_text(table.read_text().replace("path,label\n", "path,labels\n"))
    code, _, err = call("evaluate", trained, table, "-o", tmp_path / "labels")
    assert code == 3
    assert "The model is single-label, but" in err


def test_evaluate_wrong_input_is_error(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    folder = copy(colours, tmp_path / "mine", "red")
    shutil.copytree(colours / "blue", folder / "blu")
    code, _, err = call("evaluate", copy_of_trained, folder)
    assert code == 3
    assert err.splitlines()[-4:] == [
        f"error: {folder} has classes that the model does not know: blu (did you mean blue?).",
        "Expected some of: blue, green, red.",
        "Received: blu, red.",
        "Name the class of the model for each of them in a table with the columns from,to (an empty `to` leaves the "
        "class out), and add: --class-map FILE.csv",
    ]
    assert not (copy_of_trained / "evaluations").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    code, _, err = call("evaluate", copy_of_trained, colours, "-o", tmp_path / "full")
    assert code == 3
    assert "exists already and is not an evaluation." in err
    assert (tmp_path / "full/letter.txt").is_file()
    assert call("evaluate", copy_of_trained, colours, "-o", tmp_path / "first")[0] == 0
    code, _, err = call("evaluate", copy_of_trained, copy(colours, tmp_path / "other", "red"), "-o", tmp_path / "first")
    assert code == 3
    assert f"holds an evaluation of {colours.resolve()}." in err
    bundle = Path(shutil.copytree(copy_of_trained / "model", tmp_path / "alone"))
    known = {row["path"] for row in rows_of(copy_of_trained / "split.csv") if row["split"] == "train"}
    code, _, err = call("evaluate", bundle, colours)
    assert code == 2
    assert "is not inside a run, so there is no default output folder. Add -o DIR." in err
    code, out, err = call("--json", "evaluate", bundle, colours, "-o", tmp_path / "by bundle")
    assert (code, json.loads(out)["trained_on"]) == (0, len(known))
    assert call("evaluate", tmp_path / "nothing", colours)[0] == 4
    code, _, err = call("evaluate", colours, copy_of_trained)
    assert code == 2
    assert err.splitlines()[-1] == (
        f"Error: {copy_of_trained} is a model, {colours} is not. The model comes first. Try: transfer-cli evaluate "
        f"{copy_of_trained} {colours}"
    )
    training_paths = copy(colours, tmp_path / "train", "red")
    for path in training_paths.rglob("*.png"):
        if path.relative_to(training_paths).as_posix() not in known:
            path.unlink()
    code, _, err = call("evaluate", copy_of_trained, training_paths, "--min-accuracy", "0")
    assert code == 6
    assert "warning: the model was trained on all of these images: the score is too optimistic" in err
    assert "cannot be checked: there are no images of unseen." in err


def test_compare_runs_and_evaluations(trained: Path, finetuned: Path, colours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert call("--quiet", "extract", colours, *TINY_WORDS, "--classifier", "knn", "-o", other)[0] == 0
    code, out, err = call("compare", trained, other)
    assert code == 0, err
    header, *rows = out.splitlines()
    assert header.split("  ")[0] == "run"
    assert [row.split()[0] for row in rows] == [str(trained), str(other)]
    metrics = [json.loads((run / "metrics.json").read_text())["test"] for run in (trained, other)]
    images = int(metrics[0]["images"]["value"])
    assert f"{images} images (test), the same for all models" in err.splitlines()
    data = json.loads(call("--json", "compare", trained, other)[1])
    assert (data["images"], data["split"], data["left_out"]) == (images, "test", [])
    leading = data["leading"]
    assert data["best"] == (leading[0] if len(leading) == 1 else None)
    verdict = "best" if len(leading) == 1 else f"same accuracy as {leading[-1]}"
    assert [row.startswith(leading[0]) for row in rows] == [row.endswith(verdict) for row in rows]
    for run, own in zip((trained, other), metrics, strict=True):
        for name in ("accuracy", "macro_f1", "log_loss"):
            assert data["runs"][str(run)][name]["value"] == pytest.approx(own[name]["value"], rel=1e-6)
    (pair,) = data["pairs"]
    assert pair["p"] == pair["p_adjusted"]
    # The run with a validation set has one test image less.
    code, _, err = call("compare", trained, finetuned)
    assert code == 3
    assert f"{images} and {images - 1} images, of which {images - 1} have the same content." in err
    assert err.splitlines()[-2:] == [f"transfer-cli evaluate {run} {colours}" for run in (trained, finetuned)]
    # Images that one of them was trained on are left out for both.
    for run, name in ((trained, "one"), (finetuned, "two")):
        assert call("--quiet", "evaluate", run, colours, "-o", tmp_path / name)[0] == 0
    code, out, err = call("--json", "compare", tmp_path / "one", tmp_path / "two")
    left_out = json.loads(out)["left_out"]
    assert (code, json.loads(out)["images"]) == (0, 36 - len(left_out))
    splits = [rows_of(run / "split.csv") for run in (trained, finetuned)]
    assert set(left_out) == {row["path"] for split in splits for row in split if row["split"] != "test"}
    assert f"warning: left out: {len(left_out)} images used to train or select one of the models: blue/" in err
    # Images that were moved into split folders are matched by content; otherwise the error names the next command.
    split = read_split(trained)
    for path, part in split.items():
        place = tmp_path / "split" / part / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / path, place)
    assert call("--quiet", "evaluate", trained, tmp_path / "split", "-o", tmp_path / "three")[0] == 0
    code, out, err = call("--json", "compare", tmp_path / "one", tmp_path / "three")
    assert (code, json.loads(out)["images"], json.loads(out)["moved"]) == (0, images, 36)
    assert json.loads(out)["best"] is None
    part = copy(tmp_path / "split", tmp_path / "part", "train")
    assert call("--quiet", "evaluate", finetuned, part, "-o", tmp_path / "four")[0] == 0
    code, _, err = call("compare", tmp_path / "one", tmp_path / "four")
    assert code == 3
    assert err.splitlines()[-2:] == [f"transfer-cli evaluate {run} {colours}" for run in (trained, finetuned)]
    assert call("compare", trained)[0] == 2
    assert call("compare", trained, tmp_path)[0] == 4
