"""Check the types in a skops file before skops opens it; only those of the catalog's classifiers are allowed.

skops trusts more than a classifier needs, such as all of scikit-learn and many functions, and has had faults in what it
trusts (CVE-2024-37065, CVE-2025-54412, CVE-2025-54413). The file names the class and the loader of each object. This
module imports neither scikit-learn nor skops.
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
MAX_BYTES = 100_000_000
_MAX_VALUES = 5_000_000
"""The largest accepted file, of 20,000 arrays, needs some 80 MB."""
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
"""Types that each skops loader may create."""
_SETTINGS = {"n_jobs": -1, "verbose": 0}
"""Attributes of a loaded classifier that get this value unless they are missing or None."""


def check_classifier_file(path: Path) -> None:
    """Raise ModelError if a skops file is no safe zip file, or names a type that no classifier of the catalog has."""
    list_members(path, is_expected=lambda name: name == SCHEMA or name.endswith(".npy"))
    try:
        with ZipFile(path) as archive:
            schema = parse_json(archive.read(SCHEMA), most_bytes=MAX_BYTES, most_values=_MAX_VALUES)
        if not isinstance(schema, dict) or "__loader__" not in schema:
            raise ValueError(f"{SCHEMA} names no object")
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ModelError(f"Cannot read the classifier in {path}: {error}.") from error
    types = set()
    for each in iter_objects(schema):
        if {"__loader__", "__module__", "__class__"} & each.keys():
            loader, kind = each.get("__loader__"), f"{each.get('__module__')}.{each.get('__class__')}"
            if not isinstance(loader, str) or kind not in _LOADERS.get(loader, ()):
                types.add(f"{kind} ({loader})")
    if types:
        raise untrusted_type(path, sorted(types))


def untrusted_type(path: Path, types: list[str]) -> ModelError:
    """Return the error for a file with such types."""
    others = "" if len(types) <= _SHOWN else f" and {len(types) - _SHOWN} others"
    return ModelError(
        f"{path} was refused, and nothing in it was run: it contains types that no classifier of the catalog has: "
        f"{', '.join(types[:_SHOWN])[:500]}{others}."
    )


def set_own_settings(estimator: Any) -> None:
    """Set the number of threads and the printed messages of a loaded classifier, which are not for a file to decide."""
    waiting, seen = [estimator], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting += each
        elif type(each).__module__.startswith("sklearn.") and hasattr(each, "__dict__") and id(each) not in seen:
            seen.add(id(each))
            waiting += vars(each).values()
            vars(each).update({name: own for name, own in _SETTINGS.items() if vars(each).get(name) is not None})


def width_of(pipeline: Any, path: Path) -> int:
    """Return the number of features that a classifier read from `path` takes; raise ModelError if it has none."""
    width = getattr(pipeline, "n_features_in_", None)
    if not isinstance(width, int):
        raise ModelError(f"{path} was refused: it is not a fitted classifier.")
    return width
