"""Classes that are left out of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.inference.colour_model import NAMES, colour_model, save_colours
from transfer_cli import predict
from transfer_cli.errors import OptionError, UnknownNameError
from transfer_cli.inference.models import NetworkModel
from transfer_cli.inference.predict import predict_files
from transfer_cli.inference.reject import Rejector
from transfer_cli.inference.restricted_classes import RestrictedModel, restrict
from transfer_cli.inference.tta import AugmentedModel


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return save_colours(tmp_path_factory.mktemp("images"), 6)


@pytest.mark.parametrize(
    "options",
    [{"only": ["red", "blue"]}, {"only": "red,blue"}, {"only": [" red, blue ,"]}, {"exclude": ["grey", "green"]}],
)
def test_predict_some_classes_only(paths: list[str], options: dict[str, list[str]]) -> None:
    (whole,), (some,) = predict(colour_model(), paths), predict(colour_model(), paths, **options)
    kept = whole.probabilities[:, [0, 2]]
    assert (some.class_names, some.left_out) == (("red", "blue"), ("green", "grey"))
    assert some.probabilities.dtype == np.float32
    np.testing.assert_allclose(some.probabilities, kept / kept.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(some.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_restrict_all_classes_or_none_is_the_model() -> None:
    model = colour_model()
    assert restrict(model) is model
    assert restrict(model, only=NAMES) is model
    assert restrict(model, exclude=[","]) is model


def test_restrict_nothing_left_of_the_probability_prefers_no_class() -> None:
    certain = NetworkModel(lambda images: np.array([[1.0, 0, 0]], np.float32), ("a", "b", "c"), 8, "squash")
    images = np.zeros((1, 8, 8, 3), np.uint8)
    assert restrict(certain, exclude=["a"]).predict_proba(images).tolist() == [[0.5, 0.5]]


def test_restrict_multi_label_keeps_probabilities_and_thresholds(paths: list[str]) -> None:
    model = colour_model((0.1, 0.2, 0.3, 0.4))
    (whole,), (some,) = predict(model, paths), predict(model, paths, only=["blue"])
    assert some.thresholds == (0.3,)
    assert some.probabilities.tolist() == whole.probabilities[:, 2:3].tolist()
    assert some.label_lists() == [[name for name in labels if name == "blue"] for labels in whole.label_lists()]


def test_restrict_name_with_a_comma() -> None:
    model = NetworkModel(lambda images: images, ("ox, musk", "ox", "musk"), 8, "squash")
    assert restrict(model, exclude=["ox, musk"]).class_names == ("ox", "musk")
    assert restrict(model, only=["ox, musk", "ox"]).class_names == ("ox, musk", "ox")


def test_restrict_typo_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"There is no class called 'gren'. Did you mean green\?") as caught:
        restrict(colour_model(), exclude=["red", "gren"])
    assert caught.value.hint == "The classes are red, green, blue, grey."
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["red"]}, "Expected at least 2 of the 4 classes to be left. Received: red."),
        ({"exclude": NAMES}, "Expected at least 2 of the 4 classes to be left. Received: none."),
        ({"only": ["red"], "exclude": ["blue"]}, "not both"),
    ],
)
def test_restrict_what_makes_no_sense_is_refused(options: dict[str, list[str]], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        restrict(colour_model(), **options)
    assert caught.value.exit_code == 2


def test_restricted_model_summary() -> None:
    assert RestrictedModel(colour_model(), ["red", "blue"]).summary == (
        "classes left out: green, grey; probabilities are renormalised over the other 2 classes"
    )
    assert RestrictedModel(colour_model((0.5,) * 4), ["red"]).summary == (
        "classes left out: green, blue, grey; labels are predicted for red alone"
    )


def test_threshold_judges_the_new_confidence(paths: list[str]) -> None:
    rejected = []
    for model in (colour_model(), restrict(colour_model(), exclude=["grey"])):
        rejector = Rejector(model, threshold=0.5)
        (batch,) = predict(rejector.model, paths, rejector=rejector)
        rejected.append([bool(reason) for reason in batch.reasons()])
        assert rejected[-1] == (batch.probabilities.max(axis=1) < 0.5).tolist()
    assert rejected[0] != rejected[1]


def test_augmentation_keeps_what_is_left_out(paths: list[str]) -> None:
    model = AugmentedModel(restrict(colour_model(), exclude=["grey"]), "flip")
    (batch,), (plain,) = predict(model, paths), predict(colour_model(), paths, exclude=["grey"])
    assert batch.left_out == ("grey",)
    np.testing.assert_allclose(batch.probabilities, plain.probabilities, rtol=1e-6)


def test_predictions_skipped_in_their_place(tmp_path: Path) -> None:
    found = save_colours(tmp_path, 7, broken=(0, 3, 6))
    batches = list(predict_files(colour_model(), found, batch_size=2))
    order = []
    for batch in batches:
        for index in range(len(batch.paths) + 1):
            order += [file.path for file, at in zip(batch.skipped, batch.skipped_at, strict=True) if at == index]
            order += batch.paths[index : index + 1]
    assert order == found
