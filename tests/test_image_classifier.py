"""A trained classifier reads images of every kind, names what it skips, and shows itself shortly."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COLOURS
from transfer_cli import (
    FolderError,
    ImageClassifier,
    ImageError,
    InputError,
    ModelError,
    TransferWarning,
    UnknownNameError,
)
from transfer_cli.inference.bundle_archive import pack


@pytest.fixture(scope="module")
def classifier(trained: Path) -> ImageClassifier:
    return ImageClassifier.load(trained)


def test_facts(classifier: ImageClassifier, trained: Path) -> None:
    assert classifier.class_names == classifier.classes == ("blue", "green", "red")
    assert (classifier.size, classifier.is_multi_label, classifier.path) == (32, False, str(trained))
    assert repr(classifier) == f"<ImageClassifier {trained}: 3 classes, 32 x 32 pixels>"
    assert classifier.card.startswith("# ")
    assert classifier.info["class_names"] == ["blue", "green", "red"]
    assert 0 <= classifier.scores["test"]["accuracy"].value <= 1
    assert "<td>blue, green, red</td>" in classifier._repr_html_()
    assert ImageClassifier.load(trained / "model").scores == classifier.scores


def test_every_kind_of_image_gives_the_same(
    classifier: ImageClassifier, colours: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = colours / "red"
    paths = sorted(folder.iterdir())
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    expected = classifier.predict(folder)
    assert expected.labels == ["red"] * 12
    assert expected.paths == tuple(map(str, paths))
    for given in (paths, [*map(str, paths)], (path for path in paths), arrays, [*arrays], iter(arrays)):
        found = classifier.predict(given, batch_size=5)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    with Image.open(paths[0]) as image:
        assert classifier.predict(image).labels == ["red"]
    assert classifier.predict(str(paths[0])).paths == (str(paths[0]),)
    assert classifier.predict(arrays[0]).paths == ("[0]",)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_skipped_silently(classifier: ImageClassifier, colours: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(colours / "red", tmp_path / "messy"))
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("x")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = classifier.predict([folder, tmp_path / "nowhere.jpg"])
    assert [Path(item.path).name for item in found.skipped] == ["broken.jpg", "nowhere.jpg"]
    assert (len(found), {each.category for each in caught}) == (12, {TransferWarning})
    assert "skipped 2 images that could not be read: " in str(caught[0].message)
    assert str(caught[1].message) == "left out: 1 .txt file"
    assert caught[0].filename == __file__
    with pytest.raises(ImageError, match=r"broken\.jpg could not be read"):
        classifier.predict(folder, strict=True)


def test_no_readable_image_is_an_error(classifier: ImageClassifier, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image could be read\.\n  nowhere\.jpg: No such file"):
        classifier.predict("nowhere.jpg")
    with pytest.raises(FolderError, match="No images found in"):
        classifier.predict(tmp_path)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"batchsize": 2}, TypeError, r"Did you mean batch_size\?"),
        ({"batch_size": 0}, InputError, "greater than or equal to 1"),
        ({"threshold": 50}, InputError, "less than or equal to 1"),
        ({"tta": "flop"}, UnknownNameError, "flip"),
        ({"progress": "bar"}, TypeError, "progress=True"),
    ],
)
def test_wrong_keyword_of_predict(
    classifier: ImageClassifier, keywords: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        classifier.predict(np.zeros((8, 8, 3), np.uint8), **keywords)  # type: ignore[arg-type]


def test_rejection_augmentation_and_progress(
    classifier: ImageClassifier, colours: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = classifier.predict(colours / "red", threshold=1.0, tta="flip", progress=True)
    assert found.labels == ["unknown"] * 12
    out, err = capfd.readouterr()
    assert (out, err.startswith("predicting: 12 (")) == ("", True)


def test_none_is_the_default(classifier: ImageClassifier, colours: Path, tmp_path: Path) -> None:
    image = min((colours / "red").iterdir())
    assert classifier.predict(image, batch_size=None, tta=None, only=None).labels == ["red"]
    explanations = classifier.explain(image, output=tmp_path / "why", method="occlusion", classes=None, layer=None)
    assert [row.class_name for row in explanations] == ["red"]


def test_evaluate(classifier: ImageClassifier, colours: Path, tmp_path: Path) -> None:
    evaluation = classifier.evaluate(colours, output=tmp_path / "evaluation")
    assert evaluation.scores["all"]["images"].value == 36
    assert repr(evaluation).startswith(f"<Evaluation {tmp_path / 'evaluation'}: ")
    assert "images used in training" in repr(evaluation)
    assert "<th>score</th>" in evaluation._repr_html_()
    assert classifier.evaluate(str(colours), output=str(tmp_path / "evaluation")).metrics == evaluation.metrics


def test_explain(classifier: ImageClassifier, tmp_path: Path) -> None:
    given = np.full((40, 40, 3), COLOURS["red"], np.uint8)
    explanations = classifier.explain(given, output=tmp_path / "why", method="occlusion", classes="red")
    (row,) = explanations
    assert (row.path, row.class_name, len(explanations)) == ("[0]", "red", 1)
    assert repr(explanations).startswith(f"<1 saliency map in {tmp_path / 'why'}>\n")
    assert explanations._repr_html_().startswith('<img src="data:image/png;base64,')
    with pytest.raises(UnknownNameError, match="no class called 'rad'"):
        classifier.explain(given, output=tmp_path / "why", classes=["rad"])


@pytest.mark.integration
def test_export(classifier: ImageClassifier, tmp_path: Path, colours: Path) -> None:
    results = classifier.export(["keras", "litert"], output=tmp_path / "export")
    assert [result.spec.name for result in results] == ["keras", "litert"]
    assert results[1].path is not None
    exported = ImageClassifier.load(results[1].path)
    assert exported.predict(colours / "red").labels == ["red"] * 12
    assert exported.scores == {}
    with pytest.raises(ModelError, match="is not a run or a bundle"):
        _ = exported.card
    with pytest.raises(UnknownNameError, match="tflit"):
        classifier.export("tflit", output=tmp_path / "export")


def test_model_outside_of_a_run_needs_an_output(trained: Path, colours: Path, tmp_path: Path) -> None:
    alone = ImageClassifier.load(shutil.copytree(trained / "model", tmp_path / "alone"))
    assert alone.scores == {}
    with pytest.raises(InputError, match="is not inside a run") as error:
        alone.evaluate(colours)
    assert error.value.hint == "Pass output=FOLDER."


@pytest.mark.integration
def test_packed_bundle_does_what_a_bundle_does(trained: Path, colours: Path, tmp_path: Path) -> None:
    packed = ImageClassifier.load(pack(trained, tmp_path / "packed.zip"))
    assert (packed.path, packed.scores) == (str(tmp_path / "packed.zip"), {})
    assert packed.card == ImageClassifier.load(trained).card
    assert "packed.zip" in packed._repr_html_()
    image = min((colours / "red").iterdir())
    assert packed.predict(image).labels == ["red"]
    assert len(packed.explain(image, output=tmp_path / "why", method="occlusion")) == 1
    assert packed.evaluate(colours, output=tmp_path / "evaluation").scores["all"]["images"].value == 36
    (exported,) = packed.export("keras", output=tmp_path / "export", images=colours)
    assert exported.path == tmp_path / "export" / "model.keras"
    with pytest.raises(InputError, match=r"packed\.zip is not inside a run") as error:
        packed.explain(image)
    assert error.value.hint == "Pass output=FOLDER."


def test_model_as_a_function_of_arrays_checks_them(classifier: ImageClassifier) -> None:
    model = classifier.model
    assert model.predict_proba(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 3)
    with pytest.raises(TypeError, match="Expected pixels as uint8"):
        model.predict_proba(np.zeros((2, 32, 32, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Expected images of shape \(n, 32, 32, 3\)"):
        model.predict_proba(np.zeros((2, 40, 40, 3), np.uint8))
    with pytest.raises(TypeError, match="as a NumPy array"):
        model.predict_proba("a.jpg")  # type: ignore[arg-type]
