"""The model card in a bundle: a Markdown page on its data, metrics and limits.

References
----------
M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.bundle.files import MODEL_CARD_FILE
from transfer_cli.calibration.fit import ValFit
from transfer_cli.catalog import backbones
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.class_map import ClassMap
from transfer_cli.data.groups import NEAR_DUPLICATES, group_column
from transfer_cli.data.split import Split
from transfer_cli.data.split_assignment import PARTS
from transfer_cli.io.digests import digest_of_file
from transfer_cli.metrics.intervals import is_undefined
from transfer_cli.metrics.scores import COPIES, RECALL, Metrics, MetricValue, doubts
from transfer_cli.text import counted, listed, printable

_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean average precision",
    "exact_matches": "exact match ratio",
    "roc_auc": "area under the ROC curve",
    "log_loss": "log loss (nats)",
    "brier": "Brier score",
    "expected_calibration_error": "expected calibration error",
}
_FEW_TEST_IMAGES = 100
_LISTED = 50
"""Classes that a sentence lists; the tables list all of them."""
_LOW_RECALL = 0.5
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")


@dataclass(frozen=True)
class ModelCard:
    """The content of a model card.

    Attributes
    ----------
    bundle : ModelBundle
    split : Split
    metrics : mapping
        As in metrics.json.
    fitted : ValFit
    dataset : str
        Name of the image folder.
    skipped : int
        Number of files that could not be read.
    val_note : str
        How the metrics on val were computed, unless they are predictions on a held-out part.
    members : sequence of ModelBundle
        The networks of an ensemble.
    """

    bundle: ModelBundle
    split: Split
    metrics: Metrics
    fitted: ValFit
    dataset: str
    skipped: int = 0
    val_note: str = ""
    members: Sequence[ModelBundle] = ()

    def write(self, directory: Path) -> None:
        """Write the card to the directory of a bundle that holds all other files."""
        networks = self.members or (self.bundle,)
        parts = [part for part in PARTS if part in self.metrics]
        rejection = self.fitted.rejection
        versions = [f"{package} {version}" for package, version in sorted(self.bundle.versions.items()) if version]
        context = {
            "card": self,
            "bundle": self.bundle,
            "single": self.bundle.task == SINGLE_LABEL,
            "training": _training(self.bundle),
            "origins": [*dict.fromkeys(map(_origin, networks))],
            "sizes": [
                *dict.fromkeys(f"{each.image_size} x {each.image_size} pixels ({each.resize})" for each in networks)
            ],
            "parts": parts,
            "metrics": _metrics_table(self.metrics, parts),
            "recalls": _table(["class", "recall", "images"], _recalls(self.metrics.get("test", {}))),
            "rejection": "" if rejection is None else rejection.threshold_for().summary(),
            "counts": _counts(self.split),
            "class_names": listed(self.bundle.class_names, _LISTED),
            "tables": [*_tables(self.bundle)],
            "split_by": {
                "digest": "by group" if _group_by(self.bundle) else "by image content",
                "folders": "from the folder layout",
            }.get(self.split.made_by, "from an existing split.csv"),
            "limits": _limits(self, networks),
            "versions": ", ".join(versions),
            "files": _files(directory),
        }
        # Markdown, not HTML: the filter `text` escapes names that come from the image folder.
        loader = PackageLoader("transfer_cli.bundle")
        environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True)
        environment.filters["text"] = _text
        card = environment.get_template("model_card.md").render(context)
        card = re.sub(r"\n{3,}", "\n\n", card).strip() + "\n"
        (directory / MODEL_CARD_FILE).write_bytes(card.encode("utf-8", "backslashreplace"))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table whose first column is escaped, or an empty string if there are no rows."""
    lines = [header, ["---"] * len(header), *([_text(row[0]), *map(str, row[1:])] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _metrics_table(metrics: Metrics, parts: Sequence[str]) -> str:
    rows = [["images", *(int(metrics[part]["images"]["value"]) for part in parts)]]
    for name, title in _METRICS.items():
        if any(name in metrics[part] for part in parts):
            rows.append([title, *(_value(metrics[part][name]) if name in metrics[part] else "-" for part in parts)])
    return _table(["metric", *parts], rows if parts else [])


def _recalls(metrics: Mapping[str, MetricValue]) -> list[tuple[str, str, str]]:
    """Return name, recall and number of images of each class, the lowest recall first."""
    recalls = {key.removeprefix(RECALL): value for key, value in metrics.items() if key.startswith(RECALL)}
    rows = []
    for name, recall in sorted(recalls.items(), key=lambda item: (item[1]["value"], item[0])):
        support = metrics.get(f"support/{name}")
        rows.append((name, _value(recall), "-" if support is None else f"{support['value']:.0f}"))
    return rows


def _counts(split: Split) -> str:
    counted = Counter((label, row.part) for row in split.rows for label in row.labels)
    parts = [*split.counts()]
    rows = [[name, *(counted[name, part] for part in parts)] for name in split.class_names]
    return _table(["class" if split.task == SINGLE_LABEL else "label", *parts], rows)


def _files(directory: Path) -> str:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    digests = [(path.relative_to(directory).as_posix(), digest_of_file(path)) for path in paths]
    rows = [[name, digest.bytes, f"`{digest.sha256}`"] for name, digest in digests]
    return _table(["file", "bytes", "SHA-256"], rows)


def _training(bundle: ModelBundle) -> str:
    """Return one sentence on how the model was trained."""
    if bundle.members:
        count = f"{len(bundle.members)} models" if len(bundle.members) > 1 else "one model"
        rows = ", ".join(f"{_text(member.name)} ({member.weight:.2f})" for member in bundle.members)
        return f"an ensemble of {count} combined by {bundle.combination}, with weights: {rows}."
    name = bundle.backbone["name"]
    if bundle.kind == "network" and "ensemble" in bundle.recipe:
        return f"the network {name}, whose weights are the mean of several networks fine-tuned on the images below."
    if bundle.kind == "network" and name == backbones.IN_RECIPE:
        return "a network that its recipe describes (section `[network]`), trained on the images below."
    if bundle.kind == "network":
        return f"the network {name}, fine-tuned on the images below."
    classifier = bundle.recipe["classifier"]["name"]
    if backbones.is_handcrafted(name):
        return (
            f"features without learning ({name}) and a classifier ({classifier}) trained on those of the images below."
        )
    return f"the frozen network {name} and a classifier ({classifier}) trained on its features of the images below."


def _origin(network: ModelBundle) -> str:
    """Return the backbone of a network, its initial weights and their licence."""
    name, weights = network.backbone["name"], network.backbone["weights"]
    pretrained = weights in (backbones.IMAGENET, backbones.EMBEDDED)
    licence = f" (licence of the published weights: {backbones.row_of(name).licence})" if pretrained else ""
    if backbones.is_handcrafted(name):
        return f"Features: {name}, computed without learning."
    ancestors = network.backbone.get("ancestors") or ()
    started = "".join(f", which started from {_ancestor(each)}" for each in ancestors[1:])
    initial = f"those of the run {_ancestor(ancestors[0])}{started}" if ancestors else _text(weights)
    if preprocess := network.backbone.get("preprocess"):
        initial = initial if ancestors else "those in it"
        digest = network.backbone.get("sha256")
        name = f"{_text(name)}, a file with the SHA-256 `{digest}`, preprocessing {preprocess}"
    return f"Backbone: {name}, initial weights {initial}{licence}."


def _ancestor(text: object) -> str:
    """Return an earlier run, given as its name and the digest of its model."""
    name, _, digest = str(text).rpartition(" ")
    return f"{_text(name)} (model `{digest}`)"


def _tables(bundle: ModelBundle) -> Iterator[str]:
    """Yield a sentence about the class map and one about the omitted images, if there were any."""
    classes = bundle.recipe.get("classes", {})
    if targets := classes.get("map"):
        changes = ClassMap.of("", targets).summary()
        digest = classes.get("map_sha256")
        yield f"Classes were changed by a class map (SHA-256 `{_text(digest)}`): {_text(changes or 'none')}."
    if digest := classes.get("omit_sha256"):
        yield (
            f"Images listed in a table (SHA-256 `{_text(digest)}`) were left out of all parts: the metrics do not "
            "apply to images like these."
        )


def _group_by(bundle: ModelBundle) -> Any:
    return bundle.recipe.get("split", {}).get("group_by")


def _limits(card: ModelCard, networks: Sequence[ModelBundle]) -> Iterator[str]:
    """Yield when the model should not be relied on, the most general limits last."""
    test = card.metrics.get("test")
    if test is None:
        yield "There was no test set: no metric here was measured on images that were not used for selection."
    else:
        if (count := int(test["images"]["value"])) < _FEW_TEST_IMAGES:
            yield f"The test set has only {counted(count, 'image')}: see the confidence intervals."
        if COPIES in test:
            yield (
                f"{counted(int(test[COPIES]['value']), 'test image', 'has')} a near-duplicate among "
                f"the training images: the metrics "
                "on test are too high."
            )
        for reason in doubts(test):
            yield f"{reason[0].upper()}{reason[1:]}."
        recalls = {name.removeprefix(RECALL): value for name, value in test.items() if name.startswith(RECALL)}
        if low := [name for name, recall in recalls.items() if recall["value"] < _LOW_RECALL]:
            yield f"Recall is below 50 % for {listed(low, _LISTED)}."
    weights = {each.backbone["name"]: each.backbone["weights"] for each in networks}
    if any(initial == backbones.RANDOM and backbones.row_of(name).is_pretrained for name, initial in weights.items()):
        yield "The backbone started from random weights, not from ImageNet weights: expect a lower accuracy."
    if any(each.backbone.get("ancestors") for each in networks):
        yield (
            "The network was trained on the images of earlier runs, too: an image that one of them was trained on does "
            "not test this model."
        )
    if backbones.EMBEDDED in weights.values():
        yield (
            "The backbone started from weights pretrained on generated textures, not on photographs: with ImageNet "
            "weights the accuracy would be higher."
        )
    if card.bundle.task == SINGLE_LABEL:
        classes = listed(card.bundle.class_names, _LISTED)
        unless = "" if card.fitted.rejection is None else ", unless predict --unknown rejects it"
        yield f"The model knows no other classes: every image gets one of the labels {classes}{unless}."
    yield (
        "The metrics apply to images like those above. With another camera, place, season or background they may be "
        "much lower: measure the model on your own images with transfer-cli evaluate."
    )
    if card.split.made_by == "digest":
        yield _split_limit(_group_by(card.bundle))


def _split_limit(group_by: str | None) -> str:
    if group_by is None:
        return (
            "The split was drawn image by image: if several images show the same object or scene, the metrics are too "
            "optimistic."
        )
    if group_by == NEAR_DUPLICATES:
        return (
            "Near-duplicates were kept in the same part of the split. Metrics may still be too optimistic if different "
            "images show the same object or scene."
        )
    column = group_column(group_by)
    same = f"whose paths have the same match of {group_by}" if column is None else f"with the same value of {column}"
    return (
        f"Images {same} form a group, and no group is in both the training set "
        "and the test set. If several groups show the same object or scene, the metrics are too optimistic. The "
        "confidence intervals assume independent images: with few groups they are too narrow."
    )


def _value(metric: MetricValue) -> str:
    if is_undefined(metric):
        return "undefined"
    low, high = metric["low"], metric["high"]
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{metric['value']:.3f}{interval}"


def _text(value: object) -> str:
    """Escape a name so that Markdown shows it literally."""
    return _SPECIAL.sub(r"\\\1", printable(str(value)).replace("\n", " "))
