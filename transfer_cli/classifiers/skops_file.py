"""What a classifier's file consists of: one that has anything else is not opened by skops.

skops trusts more than a classifier needs, all of scikit-learn and many functions among it, and has been wrong about
what it trusts (CVE-2024-37065, CVE-2025-54412, -54413). Its file says of each object which class it has, and which
loader makes it. Nothing here imports scikit-learn or skops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from transfer_cli.catalog.classifiers import trusted_types
from transfer_cli.errors import ModelError
from transfer_cli.io.untrusted.json_text import iter_objects, parse_json
from transfer_cli.io.untrusted.zip_file import list_members

SCHEMA = "schema.json"
MOST_BYTES = 512_000_000
_SHOWN = 5
_OBJECTS = {
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.ensemble._bagging.BaggingClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.ensemble._weight_boosting.AdaBoostClassifier",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.multiclass.OneVsRestClassifier",
    "sklearn.neighbors._classification.KNeighborsClassifier",
    "sklearn.neighbors._nearest_centroid.NearestCentroid",
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._label.LabelBinarizer",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.svm._classes.LinearSVC",
    "sklearn.svm._classes.SVC",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
}
_NUMBERS = ("bool", "bool_", "float32", "float64", "int32", "int64", "uint8", "uint32", "uint64")
_LOADERS = {
    "DictNode": {"builtins.dict"},
    "JsonNode": {"builtins.str"},
    "ListNode": {"builtins.list"},
    "LossNode": {"sklearn._loss._loss.CyHalfBinomialLoss", "sklearn._loss._loss.CyHalfMultinomialLoss"},
    "NdArrayNode": {"numpy.ndarray", *(f"numpy.{name}" for name in _NUMBERS)},
    "ObjectNode": _OBJECTS | set(trusted_types()),
    "RandomGeneratorNode": {"numpy.random._generator.Generator"},
    "RandomStateNode": {"numpy.random.mtrand.RandomState"},
    "TreeNode": {"sklearn.tree._tree.Tree"},
    "TupleNode": {"builtins.tuple"},
    "TypeNode": {"builtins.str", "builtins.int"},
}
"""What each of skops's loaders may make."""


def check_classifier_file(path: Path) -> None:
    """Raise ModelError where a classifier's file names anything that no classifier of the catalog has."""
    if found := strangers(path):
        raise untrusted_type(path, found)


def untrusted_type(path: Path, found: list[str]) -> ModelError:
    """Return what to tell a person of a file that names such things."""
    others = "" if len(found) <= _SHOWN else f" and {len(found) - _SHOWN} others"
    return ModelError(
        f"{path} was refused, and nothing of it was run: it holds types that no classifier of the catalog has: "
        f"{', '.join(found[:_SHOWN])[:500]}{others}."
    )


def strangers(path: Path) -> list[str]:
    """Return what a classifier's file names that no classifier of the catalog has; nothing of it is loaded.

    Raises
    ------
    ModelError
        When it is no zip file that a library can be let at, or does not say what it consists of.
    """
    list_members(path, is_expected=lambda name: name == SCHEMA or name.endswith(".npy"))
    try:
        with ZipFile(path) as archive:
            schema = parse_json(archive.read(SCHEMA), most_bytes=MOST_BYTES)
        if not isinstance(schema, dict) or "__loader__" not in schema:
            raise ValueError(f"its {SCHEMA} names no object")
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ModelError(f"{path} is not a classifier that can be read: {error}.") from error
    found = set()
    for each in iter_objects(schema):
        if {"__loader__", "__module__", "__class__"} & each.keys():
            loader, kind = each.get("__loader__"), f"{each.get('__module__')}.{each.get('__class__')}"
            if not isinstance(loader, str) or kind not in _LOADERS.get(loader, ()):
                found.add(f"{kind} ({loader})")
    return sorted(found)


def width_of(pipeline: Any, path: Path) -> int:
    """Return how many features a classifier out of `path` reads; raise ModelError where it does not say so."""
    found = getattr(pipeline, "n_features_in_", None)
    if not isinstance(found, int):
        raise ModelError(f"{path} was refused: it is not a fitted classifier.")
    return found
