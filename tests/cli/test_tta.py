"""``--tta`` of ``predict`` and ``evaluate`` as a person meets it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import save_picture
from transfer_cli import Augmented, load, predict
from transfer_cli.cli.main import main
from transfer_cli.inference import tta

EXPECTED = "Expected one of flip, five-crop, ten-crop, or a number of crops from 2 to 100."


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def table_of(text: str) -> dict[str, np.ndarray]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row["path"]: np.array([float(row[name]) for name in row if name.startswith("p_")]) for row in rows}


@pytest.fixture(scope="module")
def murky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures of the three classes that a classifier of colours is not sure of, darker to one side."""
    root, random = tmp_path_factory.mktemp("murky") / "murky", np.random.default_rng(9)
    for name, colour in {"blue": (90, 90, 120), "green": (90, 120, 90), "red": (120, 90, 90)}.items():
        for number in range(15):
            save_picture(root / name / f"{number:02}.png", np.array(colour) + random.normal(0, 25, 3), random)
    return root


@pytest.mark.parametrize(("method", "passes"), [("flip", 2), ("ten-crop", 10), ("4", 4)])
def test_predict_says_what_it_costs(trained: Path, murky: Path, method: str, passes: int) -> None:
    code, out, err = call("predict", trained, murky, "--tta", method)
    assert code == 0
    said = err.splitlines()[-2]
    assert said.startswith(f"{method}: {passes} passes a picture, ")
    assert " ms of the network instead of " in said
    table = table_of(out)
    given = predict(Augmented(load(str(trained)), method), list(table))
    expected = np.concatenate([batch.probabilities for batch in given])
    assert np.abs(np.array(list(table.values())) - expected).max() < 1e-5
    plain = table_of(call("predict", trained, murky)[1])
    assert np.abs(np.array(list(plain.values())) - expected).max() > 1e-4
    assert call("predict", trained, murky, "--tta", method)[1] == out


def test_predict_may_reject_too(trained: Path, murky: Path) -> None:
    code, out, err = call("predict", trained, murky, "--tta", "ten-crop", "--unknown")
    assert code == 0
    assert "ten-crop: 11 passes a picture" in err
    rejected = [row["why"] for row in csv.DictReader(out.splitlines())]
    plain = call("predict", trained, murky, "--unknown")[1]
    assert rejected == [row["why"] for row in csv.DictReader(plain.splitlines())]
    assert any(rejected)


def test_what_was_mistyped_is_said_before_anything_is_loaded(trained: Path, murky: Path) -> None:
    for command in ("predict", "evaluate"):
        code, out, err = call(command, trained, murky, "--tta", "tencrop")
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "error: There is no test-time augmentation called 'tencrop'. Did you mean ten-crop?",
            EXPECTED,
        ]
        code, _, err = call(command, trained, murky, "--tta", "1")
        assert (code, err.splitlines()[0]) == (2, "error: Of one crop there is nothing to average.")


def test_an_exported_file_and_a_backbone_with_its_own_classes(
    copy_of_trained: Path, murky: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("--quiet", "export", copy_of_trained, "--format", "litert")[0] == 0
    (file,) = copy_of_trained.rglob("model.tflite")
    tables = [table_of(call("predict", model, murky, "--tta", "five-crop")[1]) for model in (copy_of_trained, file)]
    one, two = (np.array(list(table.values())) for table in tables)
    assert np.abs(one - two).max() < 1e-4
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    image = next((shared / "data/clothing/test").rglob("*.jpg"))
    words = ("--offline", "predict", "imagenet:mobilenet@0.25", os.fspath(image))
    (flipped,) = table_of(call(*words, "--tta", "flip")[1]).values()
    (plain,) = table_of(call(*words)[1]).values()
    assert flipped.shape == plain.shape == (1000,)
    assert np.abs(flipped - plain).max() > 1e-3


def test_evaluate_says_what_it_brought(copy_of_trained: Path, murky: Path, colours: Path) -> None:
    code, out, err = call("evaluate", copy_of_trained, murky, "--tta", "3")
    place = copy_of_trained / "evaluations/murky-3"
    assert (code, out) == (0, f"{place}\n")
    assert call("--quiet", "evaluate", copy_of_trained, murky)[:2] == (0, f"{place.parent / 'murky'}\n")
    metrics, plain = (json.loads((place.parent / name / "metrics.json").read_text()) for name in ("murky-3", "murky"))
    about = json.loads((place / "evaluation.json").read_text())
    assert about["tta"] == "3"
    gain = about["gain"]
    assert (gain["method"], gain["part"], gain["images"], gain["cost"]["passes"]) == ("3", "all", 45, 3)
    for name in ("accuracy", "macro_f1", "log_loss"):
        assert gain["figures"][name]["value"] == pytest.approx(metrics["all"][name]["value"], abs=1e-6)
        assert gain["figures_without"][name]["value"] == pytest.approx(plain["all"][name]["value"], abs=1e-6)
    assert gain["figures"]["log_loss"] != gain["figures_without"]["log_loss"]
    assert "3: 3 passes a picture, " in err
    assert f"3 on all: accuracy {metrics['all']['accuracy']['value']:.3f} instead of " in err
    # The table is that of predict with it.
    own = table_of((place / "predictions.csv").read_text())
    given = table_of(call("predict", copy_of_trained, murky, "--tta", "3")[1])
    assert all((own[Path(path).relative_to(murky).as_posix()] == row).all() for path, row in given.items())
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    code, out, _ = call("--json", "--quiet", "evaluate", copy_of_trained, murky, "--tta", "3")
    assert (code, {**json.loads(out)["gain"], "cost": None}) == (0, {**gain, "cost": None})
    after = {path.name: path.read_bytes() for path in place.iterdir()}
    again = json.loads(after.pop("evaluation.json"))
    before.pop("evaluation.json")
    assert after == before
    assert {**again["gain"], "cost": None} == {**gain, "cost": None}
    # Another evaluation of the same pictures is not written over it.
    code, _, err = call("evaluate", copy_of_trained, murky, "-o", place)
    assert code == 3
    assert "holds an evaluation with --tta 3." in err
    code, _, err = call("evaluate", copy_of_trained, murky, "--tta", "flip", "-o", place.parent / "murky")
    assert code == 3
    assert "holds an evaluation without --tta." in err
    code, out, _ = call("--json", "compare", place, place.parent / "murky")
    assert code == 0
    assert json.loads(out)["runs"][str(place)]["log_loss"]["value"] == pytest.approx(
        gain["figures"]["log_loss"]["value"], abs=1e-4
    )
    # What can be typed where pictures differ asks in the same way.
    assert call("--quiet", "evaluate", copy_of_trained, colours)[0] == 0
    code, _, err = call("compare", place, place.parent / "colours")
    assert code == 3
    assert err.splitlines()[-2:] == [
        f"transfer-cli evaluate {copy_of_trained} {murky} --tta 3",
        f"transfer-cli evaluate {copy_of_trained} {murky}",
    ]


def test_only_pictures_without_a_say_tell_the_gain(copy_of_trained: Path, colours: Path) -> None:
    code, out, err = call("--json", "evaluate", copy_of_trained, colours, "--tta", "flip")
    facts = json.loads(out)
    assert code == 0
    assert facts["gain"]["part"] == "unseen"
    assert facts["gain"]["images"] == facts["metrics"]["unseen"]["images"]["value"] < 36
    assert "flip on unseen: accuracy " in err


def test_the_gate_judges_what_is_augmented(
    trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("evaluate", trained, colours, "--tta", "flip", "--min-accuracy", "0.9", "-o", tmp_path / "out")
    assert call(*words)[0] == 0
    monkeypatch.setattr(tta, "cut", lambda images, variant, size: np.zeros_like(images))
    code, _, err = call(*words)
    assert code == 6
    (accuracy,) = re.findall(r"^flip on unseen: accuracy (0\.[0-4]\d\d) instead of 1\.000: -", err, re.MULTILINE)
    assert f"The accuracy on unseen is {accuracy}" in err
