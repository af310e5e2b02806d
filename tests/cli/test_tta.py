"""``--tta`` of ``predict`` and ``evaluate`` as users run it."""

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

from tests.conftest import save_image
from transfer_cli import AugmentedModel, load, predict
from transfer_cli.cli.main import main
from transfer_cli.inference import tta

pytestmark = pytest.mark.integration

EXPECTED = "Expected one of flip, five-crop, ten-crop, or a number of crops from 2 to 100."


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def table_of(text: str) -> dict[str, np.ndarray]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {row["path"]: np.array([float(row[name]) for name in row if name.startswith("p_")]) for row in rows}


@pytest.fixture(scope="module")
def murky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of the three classes on which the classifier is unsure, darker on one side."""
    root, random = tmp_path_factory.mktemp("murky") / "murky", np.random.default_rng(9)
    for name, colour in {"blue": (90, 90, 120), "green": (90, 120, 90), "red": (120, 90, 90)}.items():
        for number in range(15):
            save_image(root / name / f"{number:02}.png", np.array(colour) + random.normal(0, 25, 3), random)
    return root


@pytest.mark.parametrize(("method", "passes"), [("flip", 2), ("ten-crop", 10), ("4", 4)])
def test_predict_tta_prints_cost(trained: Path, murky: Path, method: str, passes: int) -> None:
    code, out, err = call("predict", trained, murky, "--tta", method)
    assert code == 0
    message = err.splitlines()[-2]
    assert message.startswith(f"{method}: {passes} passes per image, ")
    assert " ms/image in the network instead of " in message
    table = table_of(out)
    given = predict(AugmentedModel(load(str(trained)), method), list(table))
    expected = np.concatenate([batch.probabilities for batch in given])
    assert np.abs(np.array(list(table.values())) - expected).max() < 1e-5
    plain = table_of(call("predict", trained, murky)[1])
    assert np.abs(np.array(list(plain.values())) - expected).max() > 1e-4
    assert call("predict", trained, murky, "--tta", method)[1] == out


def test_predict_tta_with_unknown(trained: Path, murky: Path) -> None:
    code, out, err = call("predict", trained, murky, "--tta", "ten-crop", "--unknown")
    assert code == 0
    assert "ten-crop: 11 passes per image" in err
    rejected = [row["reason"] for row in csv.DictReader(out.splitlines())]
    plain = call("predict", trained, murky, "--unknown")[1]
    assert rejected == [row["reason"] for row in csv.DictReader(plain.splitlines())]
    assert any(rejected)


def test_tta_mistyped_fails_before_loading(trained: Path, murky: Path) -> None:
    for command in ("predict", "evaluate"):
        code, out, err = call(command, trained, murky, "--tta", "tencrop")
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "error: There is no test-time augmentation called 'tencrop'. Did you mean ten-crop?",
            EXPECTED,
        ]
        code, _, err = call(command, trained, murky, "--tta", "1")
        assert (code, err.splitlines()[0]) == (2, "error: Expected 2 to 100 crops. Received: 1.")


def test_tta_exported_file_and_imagenet_model(
    copy_of_trained: Path, murky: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("--quiet", "export", copy_of_trained, "--format", "litert")[0] == 0
    (file,) = copy_of_trained.rglob("model.tflite")
    tables = [table_of(call("predict", model, murky, "--tta", "five-crop")[1]) for model in (copy_of_trained, file)]
    one, two = (np.array(list(table.values())) for table in tables)
    assert np.abs(one - two).max() < 1e-4
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    image = next((shared / "data/clothing/test").rglob("*.jpg"))
    arguments = ("--offline", "predict", "imagenet:mobilenet@0.25", os.fspath(image))
    (flipped,) = table_of(call(*arguments, "--tta", "flip")[1]).values()
    (plain,) = table_of(call(*arguments)[1]).values()
    assert flipped.shape == plain.shape == (1000,)
    assert np.abs(flipped - plain).max() > 1e-3


def test_evaluate_tta_prints_gain(copy_of_trained: Path, murky: Path, colours: Path) -> None:
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
        assert gain["metrics"][name]["value"] == pytest.approx(metrics["all"][name]["value"], abs=1e-6)
        assert gain["metrics_without"][name]["value"] == pytest.approx(plain["all"][name]["value"], abs=1e-6)
    assert gain["metrics"]["log_loss"] != gain["metrics_without"]["log_loss"]
    assert "3: 3 passes per image, " in err
    assert f"3 on all: accuracy {metrics['all']['accuracy']['value']:.3f} instead of " in err
    # The predictions equal those of predict --tta.
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
    # An evaluation without --tta does not overwrite it.
    code, _, err = call("evaluate", copy_of_trained, murky, "-o", place)
    assert code == 3
    assert "holds an evaluation with --tta 3." in err
    code, _, err = call("evaluate", copy_of_trained, murky, "--tta", "flip", "-o", place.parent / "murky")
    assert code == 3
    assert "holds an evaluation without --tta." in err
    code, out, _ = call("--json", "compare", place, place.parent / "murky")
    assert code == 0
    assert json.loads(out)["runs"][str(place)]["log_loss"]["value"] == pytest.approx(
        gain["metrics"]["log_loss"]["value"], abs=1e-4
    )
    # The suggested commands for different images keep --tta.
    assert call("--quiet", "evaluate", copy_of_trained, colours)[0] == 0
    code, _, err = call("compare", place, place.parent / "colours")
    assert code == 3
    assert err.splitlines()[-2:] == [
        f"transfer-cli evaluate {copy_of_trained} {murky} --tta 3",
        f"transfer-cli evaluate {copy_of_trained} {murky}",
    ]


def test_evaluate_tta_gain_uses_unseen_images_only(copy_of_trained: Path, colours: Path) -> None:
    code, out, err = call("--json", "evaluate", copy_of_trained, colours, "--tta", "flip")
    data = json.loads(out)
    assert code == 0
    assert data["gain"]["part"] == "unseen"
    assert data["gain"]["images"] == data["metrics"]["unseen"]["images"]["value"] < 36
    assert "flip on unseen: accuracy " in err


def test_evaluate_tta_gate_uses_augmented_accuracy(
    trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("evaluate", trained, colours, "--tta", "flip", "--min-accuracy", "0.9", "-o", tmp_path / "out")
    assert call(*arguments)[0] == 0
    monkeypatch.setattr(tta, "crop", lambda images, variant, size: np.zeros_like(images))
    code, _, err = call(*arguments)
    assert code == 6
    (accuracy,) = re.findall(r"^flip on unseen: accuracy (0\.[0-4]\d\d) instead of 1\.000: -", err, re.MULTILINE)
    assert f"The accuracy on unseen is {accuracy}" in err
