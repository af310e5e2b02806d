"""A finished classifier becomes files for other programs, each tried on real pictures before it is handed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.catalog import export_formats
from transfer_cli.catalog.export_formats import ExporterSpec
from transfer_cli.errors import GateError, MissingExtraError, ModelError
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.export import parity as trial
from transfer_cli.export.calibration_images import ComparisonImages
from transfer_cli.export.exportable_model import ExportableModel
from transfer_cli.export.merge_support import is_linear, must_fit_one_graph
from transfer_cli.export.output_folder import DRAFT, write_down
from transfer_cli.export.parity import Parity
from transfer_cli.export.writers import WRITERS
from transfer_cli.io.atomic import refused, remove
from transfer_cli.progress import SILENT, Progress
from transfer_cli.quiet_imports import start_tensorflow
from transfer_cli.runs.evaluation_directory import run_with
from transfer_cli.text import counted

_HINTS = {
    "f32": "Other formats may do: transfer-cli export RUN --format all",
    "int8": "The same in float32 loses nothing: --format litert, or openvino. Or allow more: --max-drop POINTS",
}
_DECODED = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""What a JPEG and a PNG begin with."""
_ENCODED = 16
"""So many files a SavedModel is asked to decode."""
_FEW = 100
"""Fewer pictures hardly tell a point of accuracy."""
MAX_DROP = 1.0
"""How many points of accuracy a file that computes in int8 may lose."""


@dataclass(frozen=True)
class Drop:
    """What a file that computes in int8 lost.

    Attributes
    ----------
    part : str
        On whose pictures.
    images : int
    points : float
        Accuracy before less that after.
    low, high : float or None
        The 95 % interval of the difference by a paired bootstrap; None where both have the same pictures right.
    """

    part: str
    images: int
    points: float
    low: float | None
    high: float | None

    @property
    def summary(self) -> str:
        """How many points were lost, for a person."""
        said = f"{self.points:+.1f} points"
        return said if self.low is None else f"{said} ({self.low:+.1f} to {self.high:+.1f})"


@dataclass(frozen=True)
class Exported:
    """One format, tried.

    Attributes
    ----------
    spec : ExporterSpec
    path : Path or None
        Where it is; None where it was refused.
    size : int
        Bytes of all its files.
    milliseconds : float
        A picture, in batches.
    parity : Parity
    drop : Drop or None
    refusal : str or None
        Why it was not handed over.
    """

    spec: ExporterSpec
    path: Path | None
    size: int
    milliseconds: float
    parity: Parity
    drop: Drop | None
    refusal: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the same as JSON can hold it."""
        facts = {
            "format": self.spec.name,
            "file": self.path.name if self.path else None,
            "bytes": self.size,
            "milliseconds": round(self.milliseconds, 3),
            "images": self.parity.images,
            "deviation": self.parity.deviation if np.isfinite(self.parity.deviation) else None,
            "changed": self.parity.changed,
            "refusal": self.refusal,
        }
        return facts | {"drop": vars(self.drop)} if self.drop else facts


def formats_for(source: str, wanted: Sequence[str], progress: Progress = SILENT) -> list[ExporterSpec]:
    """Return the rows of some formats, or of all that can be had where ``all`` is among them.

    Raises
    ------
    UnknownNameError
        When there is no such format.
    MissingExtraError
        When a package is not installed.
    ModelError
        When a format cannot hold the classifier.
    """
    specs = [export_formats.find(name) for name in dict.fromkeys(wanted) if name != export_formats.ALL]
    opened = ModelBundle.open(Path(source))
    must_fit_one_graph(opened, source)
    linear = is_linear(opened)
    if export_formats.ALL in wanted:
        return _all_for(source, linear, progress)
    able = ", ".join(spec.name for spec in export_formats.EXPORTERS.values() if spec.any_classifier)
    for spec in specs:
        if not linear and not spec.any_classifier:
            raise ModelError(
                f"The classifier of this model is not linear, so that {spec.name} cannot hold it. May hold it: {able}.",
                hint=f"transfer-cli export {source} --format {able}\n"
                "or train a linear one: transfer-cli extract FOLDER --classifier logistic",
            )
        export_formats.must_be_here(spec)
    return specs


def _all_for(source: str, linear: bool, progress: Progress) -> list[ExporterSpec]:
    specs = []
    for spec in export_formats.EXPORTERS.values():
        if not linear and not spec.any_classifier:
            progress.note(f"left out: {spec.name} cannot hold a classifier that is not linear")
        elif spec.precision == "int8" and run_with(source) is None:
            progress.note(f"left out: {spec.name} needs the pictures of a run, and this is a bundle on its own")
        elif not spec.is_here:
            progress.note(f"left out: {spec.name} needs pip install 'transfer-cli[{spec.extra}]'")
        else:
            specs.append(spec)
    if not specs:
        # Only what holds every classifier is no part of each installation.
        export_formats.must_be_here(export_formats.find(export_formats.ONNX))
    return specs


def export(
    source: str,
    specs: Sequence[ExporterSpec],
    target: Path,
    *,
    images: Path | None = None,
    max_drop: float = MAX_DROP,
    progress: Progress = SILENT,
) -> list[Exported]:
    """Write a run or a bundle in some formats, and try each; what fails is removed and said.

    Parameters
    ----------
    source : str
    specs : sequence of ExporterSpec
    target : Path
        The folder to write into.
    images : Path, optional
        Where the pictures of the run are now; of a bundle alone, any folder of pictures.
    max_drop : float
        How many points of accuracy a file in int8 may lose.
    progress : Progress

    Raises
    ------
    InputError
        When there are no pictures to try it on.
    OutputError
        When the file system refuses.
    """
    with TemporaryDirectory(prefix="transfer-cli-") as folder:
        subject = ExportableModel(source, Path(folder), progress)
        made = _each(subject, specs, target, ComparisonImages.of(source, subject.bundle, images), max_drop, progress)
    write_down(target, subject.bundle, {each.spec.name: each.to_dict() for each in made}, progress)
    return made


def _each(
    subject: ExportableModel,
    specs: Sequence[ExporterSpec],
    target: Path,
    at_hand: ComparisonImages,
    max_drop: float,
    progress: Progress,
) -> list[Exported]:
    if any(spec.precision == "int8" for spec in specs):
        at_hand.must_have_parts()
    with progress.track("starting TensorFlow", None):
        start_tensorflow()
    with progress.track("asking the model", None):
        images, files = at_hand.to_compare()
        expected = subject.reference.predict_proba(images)
    progress.note(f"to compare by: {counted(len(images), 'picture')} of {at_hand.compared_with}")
    if not trial.tells_apart(expected):
        progress.warn(
            "the model says nearly the same of all these pictures: that a file says the same, too, proves little"
        )
    request = _Asked(images, files, expected)
    scored = _scored(subject, at_hand) if any(spec.precision == "int8" for spec in specs) else None
    made: list[Exported] = []
    for spec in specs:
        with progress.track(f"writing and trying {spec.name}", None):
            made.append(_exported(subject, spec, target, at_hand, request, scored, max_drop))
        drop = made[-1].drop
        if drop and drop.images < _FEW:
            progress.warn(f"{counted(drop.images, 'picture')} of {drop.part} say little about what {spec.name} lost")
    return made


def judge(made: Sequence[Exported]) -> None:
    """Raise GateError if a file was refused."""
    if said := [f"{each.spec.name}: {each.refusal}" for each in made if each.refusal]:
        raise GateError(
            "Not handed over, since it was not shown to give the answers of the model:\n" + "\n".join(said),
            hint="\n".join(dict.fromkeys(_HINTS[each.spec.precision] for each in made if each.refusal)),
        )


@dataclass(frozen=True)
class _Asked:
    """Pictures, the files they were decoded from, and what the model says of them."""

    images: NDArray[np.uint8]
    files: tuple[Path, ...]
    expected: NDArray[np.float32]


@dataclass(frozen=True)
class _Scored:
    """Pictures whose classes are known, and what the model says of them."""

    part: str
    images: NDArray[np.uint8]
    truth: NDArray[np.int64]
    before: NDArray[np.float32]


def _exported(
    subject: ExportableModel,
    spec: ExporterSpec,
    target: Path,
    at_hand: ComparisonImages,
    request: _Asked,
    scored: _Scored | None,
    max_drop: float,
) -> Exported:
    try:
        target.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=DRAFT, dir=target))
    except OSError as error:
        raise refused(error, target) from error
    try:
        path = draft / spec.file
        try:
            WRITERS[spec.name](subject, path, at_hand)
            parity, milliseconds = _tried(path, spec, request, subject.bundle.thresholds)
        except MissingExtraError:
            raise
        except ModelError as error:
            # The other formats need not wait for this one.
            reason = str(error).replace(str(draft), str(target))
            _take_away(target, spec)
            return Exported(spec, None, 0, 0.0, Parity(0, np.inf, 0, reason), None, reason)
        drop = None
        if spec.precision == "int8" and parity.fault is None:
            assert scored is not None
            drop = _drop(subject.bundle, path, scored)
        size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
        refusal = _refusal(parity, drop, max_drop)
        # What an earlier export left there is not this model's.
        _take_away(target, spec)
        if refusal is None:
            _hand_over(draft, target, spec)
        place = None if refusal else target / spec.file
        return Exported(spec, place, size, milliseconds, parity, drop, refusal)
    except OSError as error:
        raise refused(error, target / spec.file) from error
    finally:
        remove(draft)


def _tried(path: Path, spec: ExporterSpec, request: _Asked, thresholds: Sequence[float] | None) -> tuple[Parity, float]:
    """Return how the answers of a file compare, and milliseconds a picture; a SavedModel is given encoded ones, too."""
    rows = _encoded(request.files) if spec.name == export_formats.SAVED_MODEL else []
    given = trial.answers_of(path, request.images, [request.files[row] for row in rows])
    parity = trial.compare(request.expected, given.probabilities, thresholds)
    if given.of_files is None or not parity.is_exact:
        return parity, given.milliseconds
    decoded = trial.compare(request.expected[rows], given.of_files, thresholds)
    if decoded.is_exact:
        return replace(parity, deviation=max(parity.deviation, decoded.deviation)), given.milliseconds
    return replace(decoded, fault=f"of pictures that it decodes by itself {decoded.summary}"), given.milliseconds


def _encoded(files: Sequence[Path]) -> list[int]:
    """Return which files a SavedModel is asked to decode: JPEG and PNG by their content, from all over the list."""
    rows = []
    for row, path in enumerate(files):
        with path.open("rb") as file:
            if file.read(len(max(_DECODED, key=len))).startswith(_DECODED):
                rows.append(row)
    places = np.linspace(0, len(rows) - 1, min(_ENCODED, len(rows))).round().astype(int)
    return [rows[place] for place in places]


def _refusal(parity: Parity, drop: Drop | None, max_drop: float) -> str | None:
    if parity.fault:
        return parity.fault
    if drop is None:
        return None if parity.is_exact else parity.summary
    if drop.points <= max_drop:
        return None
    return (
        f"{drop.summary} of accuracy lost on the {drop.images} pictures of {drop.part}, "
        f"more than --max-drop {max_drop:g}"
    )


def _scored(subject: ExportableModel, at_hand: ComparisonImages) -> _Scored:
    images, truth = at_hand.to_score()
    return _Scored(at_hand.scored_part, images, truth, subject.reference.predict_proba(images))


def _drop(bundle: ModelBundle, path: Path, scored: _Scored) -> Drop:
    after = trial.answers_of(path, scored.images).probabilities
    bars = None if bundle.thresholds is None else np.array(bundle.thresholds)
    points, low, high = accuracy_drop(scored.truth, scored.before, after, bars)
    return Drop(scored.part, len(scored.truth), points, low, high)


def _hand_over(draft: Path, target: Path, spec: ExporterSpec) -> None:
    """Put what was tried into its place, what belongs to it first."""
    for name in (*spec.companions, spec.file):
        (draft / name).replace(target / name)


def _take_away(target: Path, spec: ExporterSpec) -> None:
    for name in (spec.file, *spec.companions):
        remove(target / name)
