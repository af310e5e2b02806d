"""A page about a bundle that travels within it (Mitchell et al. 2019, "Model Cards for Model Reporting")."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.calibration.fit import ValFit
from transfer_cli.catalog import backbones
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.groups import NEAR_DUPLICATES
from transfer_cli.data.image_folder import PARTS
from transfer_cli.data.split import Split
from transfer_cli.io.digests import digest_of_file
from transfer_cli.metrics.scores import RECALL, Figure, Metrics
from transfer_cli.text import printable

FILE = "MODEL_CARD.md"
_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean average precision",
    "exact_matches": "all labels right",
    "roc_auc": "area under the ROC curve",
    "log_loss": "log loss, nats",
    "brier": "Brier score",
    "expected_calibration_error": "expected calibration error",
}
_FEW_TEST = 100
_WEAK = 0.5
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")


def write(
    directory: Path,
    bundle: ModelBundle,
    split: Split,
    metrics: Metrics,
    fitted: ValFit,
    *,
    name: str,
    skipped: int,
    val_note: str,
    members: Sequence[ModelBundle] = (),
) -> None:
    """Write the card of a bundle whose other files are in `directory`.

    Parameters
    ----------
    directory : Path
    bundle : ModelBundle
    split : Split
        What was learnt from.
    metrics : mapping
        As in metrics.json.
    fitted : Trust
    name : str
        Of the folder of pictures.
    skipped : int
        How many files could not be read.
    val_note : str
        What the figures of val are, where they are not plain predictions of a part that was held out.
    members : sequence of ModelBundle
        Of an ensemble, each network that it has.
    """
    networks = members or (bundle,)
    parts = [part for part in PARTS if part in metrics]
    facts = {
        "bundle": bundle,
        "name": name,
        "single": bundle.task == SINGLE_LABEL,
        "classes": bundle.class_names,
        "made_with": _made_with(bundle),
        "origins": [*dict.fromkeys(map(_origin, networks))],
        "seen_as": [
            *dict.fromkeys(f"{each.image_size} x {each.image_size} pixels ({each.resize})" for each in networks)
        ],
        "parts": parts,
        "val_note": val_note,
        "figures": _figures(metrics, parts),
        "recalls": _table(["class", "found", "images"], _recalls(metrics.get("test", {}))),
        "bar": "" if fitted.rejection is None else fitted.rejection.bar().summary(),
        "counts": _counts(split),
        "made_by": {
            "digest": "by group" if bundle.recipe.get("split", {}).get("group_by") else "by content",
            "folders": "as the folder is laid out",
        }.get(split.made_by, "as in an existing split.csv"),
        "skipped": skipped,
        "limits": _limits(bundle, split, metrics, fitted, networks),
        "versions": ", ".join(
            f"{package} {version}" for package, version in sorted(bundle.versions.items()) if version
        ),
        "files": _files(directory),
    }
    # Markdown, not HTML: `text` escapes what comes from a folder.
    environment = Environment(loader=PackageLoader("transfer_cli"), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["text"] = _text
    card = environment.get_template("model_card.md").render(facts)
    card = re.sub(r"\n{3,}", "\n\n", card).strip() + "\n"
    (directory / FILE).write_bytes(card.encode("utf-8", "backslashreplace"))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table whose first column is text, or nothing where there are no rows."""
    lines = [header, ["---"] * len(header), *([_text(row[0]), *map(str, row[1:])] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _figures(metrics: Metrics, parts: Sequence[str]) -> str:
    rows = [["images", *(int(metrics[part]["images"]["value"]) for part in parts)]]
    for name, words in _FIGURES.items():
        if any(name in metrics[part] for part in parts):
            rows.append([words, *(_shown(metrics[part][name]) if name in metrics[part] else "-" for part in parts)])
    return _table(["figure", *parts], rows if parts else [])


def _recalls(figures: Mapping[str, Figure]) -> list[tuple[str, str, str]]:
    """Return each class, which share of its pictures was found, and how many there are; the worst first."""
    of_class = {key.removeprefix(RECALL): figure for key, figure in figures.items() if key.startswith(RECALL)}
    rows = []
    for name, figure in sorted(of_class.items(), key=lambda item: (item[1]["value"], item[0])):
        support = figures.get(f"support/{name}")
        rows.append((name, _shown(figure), "-" if support is None else f"{support['value']:.0f}"))
    return rows


def _counts(split: Split) -> str:
    counted = Counter((label, row.part) for row in split.rows for label in row.labels)
    parts = [*split.counts()]
    rows = [[name, *(counted[name, part] for part in parts)] for name in split.class_names]
    return _table(["class" if split.task == SINGLE_LABEL else "label", *parts], rows)


def _files(directory: Path) -> str:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    found = [(path.relative_to(directory).as_posix(), digest_of_file(path)) for path in paths]
    return _table(["file", "bytes", "SHA-256"], [[name, facts.bytes, f"`{facts.sha256}`"] for name, facts in found])


def _made_with(bundle: ModelBundle) -> str:
    """Return what a bundle is made of, after "made with"."""
    if bundle.members:
        counted = f"{len(bundle.members)} models" if len(bundle.members) > 1 else "one model"
        rows = ", ".join(f"{_text(member.name)} ({member.weight:.2f})" for member in bundle.members)
        return f"{counted} whose answers are joined by {bundle.combination}: {rows}."
    name = bundle.backbone["name"]
    if bundle.kind == "network" and "ensemble" in bundle.recipe:
        return (
            f"the network {name}, whose weights are the mean of several that were trained further on the pictures "
            "below."
        )
    if bundle.kind == "network":
        return f"the network {name} was trained further on the pictures below."
    classifier = bundle.recipe["classifier"]["name"]
    return f"the network {name} as it is, and a classifier ({classifier}) on what it makes of the pictures below."


def _origin(network: ModelBundle) -> str:
    """Return which backbone a network began as, its weights and their licence."""
    name, weights = network.backbone["name"], network.backbone["weights"]
    pretrained = weights in (backbones.IMAGENET, backbones.EMBEDDED)
    licence = f" (licence of the published weights: {backbones.find(name).licence})" if pretrained else ""
    return f"Backbone: {name}, weights {_text(weights)}{licence}."


def _limits(
    bundle: ModelBundle, split: Split, metrics: Metrics, fitted: ValFit, networks: Sequence[ModelBundle]
) -> list[str]:
    """Return in what cases a person should not rely on the model, the general ones last."""
    limits = []
    test = metrics.get("test")
    if test is None:
        limits.append("There was no test part: no figure here is one of pictures that had no say in anything.")
    elif test["images"]["value"] < _FEW_TEST:
        limits.append(f"It was tested on {int(test['images']['value'])} pictures only: see the intervals.")
    recalls = {key.removeprefix(RECALL): figure for key, figure in (test or {}).items() if key.startswith(RECALL)}
    if weak := [name for name, figure in recalls.items() if figure["value"] < _WEAK]:
        limits.append(f"It finds less than half of {', '.join(weak)}.")
    weights = {each.backbone["name"]: each.backbone["weights"] for each in networks}
    if any(of == "none" and backbones.find(name).is_pretrained for name, of in weights.items()):
        limits.append("Its network began with random weights: it knows nothing but the pictures above.")
    if backbones.EMBEDDED in weights.values():
        limits.append(
            "Its network began with weights that have seen no photograph but the pictures above: from ImageNet's it "
            "would be more accurate."
        )
    if bundle.task == SINGLE_LABEL:
        several = ", ".join(bundle.class_names)
        words = "" if fitted.rejection is None else " unless it is asked to say unknown"
        limits.append(f"It knows nothing else: every picture is called one of {several}{words}.")
    limits.append(
        "The figures hold for pictures like those above. With another camera, place, season or background they may be "
        "much lower: try it on some of yours with transfer-cli evaluate."
    )
    grouped = bundle.recipe.get("split", {}).get("group_by") if split.made_by == "digest" else None
    if grouped == NEAR_DUPLICATES:
        limits.append(
            "Copies of one picture were kept in one part. Where different pictures show the same thing, the figures "
            "flatter all the same."
        )
    elif grouped is not None:
        limits.append(
            f"Pictures in whose paths {grouped} finds the same were kept in one part: test has none of a group that "
            "was learnt from. Where several groups show the same thing, the figures flatter. The intervals take every "
            "picture for a new one: with pictures of few groups they are too narrow."
        )
    elif split.made_by == "digest":
        limits.append(
            "The parts were drawn picture by picture: where several pictures show the same thing, the figures flatter."
        )
    return limits


def _shown(figure: Figure) -> str:
    low, high = figure["low"], figure["high"]
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{figure['value']:.3f}{interval}"


def _text(value: object) -> str:
    """Return a name as Markdown shows it, whatever is in it."""
    return _SPECIAL.sub(r"\\\1", printable(str(value)).replace("\n", " "))
