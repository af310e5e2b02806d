"""A finished classifier becomes files for other programs, each tried on real pictures before it is handed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli import sealing
from transfer_cli.bundle import ModelBundle, digest_of_file
from transfer_cli.catalog import exporters, runtimes
from transfer_cli.catalog.exporters import ExporterSpec
from transfer_cli.comparison import accuracy_drop
from transfer_cli.engine import trial
from transfer_cli.engine.export_folder import write_down
from transfer_cli.engine.export_pictures import ExportPictures
from transfer_cli.engine.exported_files import SAVED_FACTS
from transfer_cli.engine.model import CLASSIFIER_FILE, AbstractModel, has_gradient, load
from transfer_cli.engine.prepared import GRAPH_FILE
from transfer_cli.engine.startup import start_tensorflow
from transfer_cli.engine.trial import Parity
from transfer_cli.errors import GateError, MissingExtraError, ModelError
from transfer_cli.evaluation import run_with
from transfer_cli.exported import FACTS, LABELS, ExportedFacts
from transfer_cli.progress import SILENT, Progress
from transfer_cli.writing import refused, remove

ALL = "all"
_LATER = "f" * 64
MAX_DROP = 1.0
"""How many points of accuracy a file that computes in int8 may lose."""


@dataclass(frozen=True)
class Drop:
    """What a file that computes in int8 lost.

    Attributes
    ----------
    part : str
        On whose pictures.
    pictures : int
    points : float
        Accuracy before less that after.
    low, high : float or None
        The 95 % interval of the difference by a paired bootstrap; None where both have the same pictures right.
    """

    part: str
    pictures: int
    points: float
    low: float | None
    high: float | None

    @property
    def in_words(self) -> str:
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

    def facts(self) -> dict[str, Any]:
        """Return the same as JSON can hold it."""
        facts = {
            "format": self.spec.name,
            "file": self.path.name if self.path else None,
            "bytes": self.size,
            "milliseconds": round(self.milliseconds, 3),
            "pictures": self.parity.pictures,
            "deviation": self.parity.deviation if np.isfinite(self.parity.deviation) else None,
            "changed": self.parity.changed,
            "refusal": self.refusal,
        }
        return facts | {"drop": vars(self.drop)} if self.drop else facts


class Subject:
    """What is exported.

    Parameters
    ----------
    source : str
        A run or a bundle.
    folder : Path
        Where to keep what several formats begin with.
    progress : Progress

    Attributes
    ----------
    bundle : ModelBundle
    directory : Path
    reference : AbstractModel
        The model on Keras, which every file is compared with.
    """

    def __init__(self, source: str, folder: Path, progress: Progress = SILENT) -> None:
        self._source = source
        self._progress = progress
        self._folder = folder
        self.bundle, self.directory = ModelBundle.read(Path(source))

    @property
    def is_linear(self) -> bool:
        """Whether its classifier can be a layer."""
        return has_gradient(self.bundle)

    @cached_property
    def reference(self) -> AbstractModel:
        """The model on Keras, which every file is compared with."""
        return load(self._source, runtime=runtimes.KERAS, cache=None, progress=self._progress)

    @cached_property
    def network(self) -> Any:
        """All of it as one network."""
        from transfer_cli.engine.whole import whole_network

        return whole_network(self.bundle, self.directory)

    @cached_property
    def graph(self) -> Path:
        """All of it as a LiteRT graph, which other formats begin with."""
        from transfer_cli.engine.convert import convert

        path = self._folder / GRAPH_FILE
        convert(self.network, path)
        return path

    def write_onnx(self, path: Path, facts: ExportedFacts) -> None:
        """Write it as ONNX, whatever its classifier is."""
        from transfer_cli.engine import onnx_graph

        words = {FACTS: facts.json_text(), LABELS: facts.labels_text}
        if self.is_linear:
            onnx_graph.write_onnx(self.network, path, metadata=words)
            return

        from transfer_cli.engine import classify
        from transfer_cli.engine.whole import features_network

        onnx_graph.write_onnx_with_classifier(
            features_network(self.bundle, self.directory),
            classify.load(self.directory / CLASSIFIER_FILE),
            path,
            classes=len(self.bundle.class_names),
            log_prior=self.bundle.log_prior,
            temperature=self.bundle.temperature,
            metadata=words,
        )


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
    specs = [exporters.find(name) for name in dict.fromkeys(wanted) if name != ALL]
    linear = has_gradient(ModelBundle.read(Path(source))[0])
    if ALL in wanted:
        return _all_for(source, linear, progress)
    able = ", ".join(spec.name for spec in exporters.EXPORTERS.values() if spec.any_classifier)
    for spec in specs:
        if not linear and not spec.any_classifier:
            raise ModelError(
                f"The classifier of this model is not linear, so that {spec.name} cannot hold it. May hold it: {able}.",
                hint=f"transfer-cli export {source} --format {able}\n"
                "or train a linear one: transfer-cli extract FOLDER --classifier logistic",
            )
        exporters.must_be_here(spec)
    return specs


def _all_for(source: str, linear: bool, progress: Progress) -> list[ExporterSpec]:
    specs = []
    for spec in exporters.EXPORTERS.values():
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
        exporters.must_be_here(exporters.find(exporters.ONNX))
    return specs


def export(
    source: str,
    specs: Sequence[ExporterSpec],
    target: Path,
    *,
    pictures: Path | None = None,
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
    pictures : Path, optional
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
        subject = Subject(source, Path(folder), progress)
        made = _each(subject, specs, target, ExportPictures.of(source, subject.bundle, pictures), max_drop, progress)
    write_down(target, subject.bundle, {each.spec.name: each.facts() for each in made}, progress)
    return made


def _each(
    subject: Subject,
    specs: Sequence[ExporterSpec],
    target: Path,
    at_hand: ExportPictures,
    max_drop: float,
    progress: Progress,
) -> list[Exported]:
    if any(spec.precision == "int8" for spec in specs):
        at_hand.must_have_parts()
    with progress.track("starting TensorFlow", None):
        start_tensorflow()
    with progress.track("asking the model", None):
        images = at_hand.to_compare()
        expected = subject.reference.predict_proba(images)
    if not trial.tells_apart(expected):
        progress.warn(
            "the model says nearly the same of all these pictures: that a file says the same, too, proves little"
        )
    made = []
    for spec in specs:
        with progress.track(f"writing and trying {spec.name}", None):
            made.append(_exported(subject, spec, target, at_hand, images, expected, max_drop))
    return made


def judge(made: Sequence[Exported]) -> None:
    """Raise GateError if a file was refused."""
    if said := [f"{each.spec.name}: {each.refusal}" for each in made if each.refusal]:
        raise GateError(
            "Not handed over, since it was not shown to give the answers of the model:\n" + "\n".join(said),
            hint="Other formats may do: transfer-cli export RUN --format all",
        )


def _exported(
    subject: Subject,
    spec: ExporterSpec,
    target: Path,
    at_hand: ExportPictures,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    max_drop: float,
) -> Exported:
    try:
        target.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=".draft-", dir=target))
    except OSError as error:
        raise refused(error, target) from error
    try:
        path = draft / spec.file
        try:
            _WRITERS[spec.name](subject, path, at_hand)
            given, milliseconds = trial.answers_of(path, images)
        except MissingExtraError:
            raise
        except ModelError as error:
            # The other formats need not wait for this one.
            reason = str(error).replace(str(draft), str(target))
            return Exported(spec, None, 0, 0.0, Parity(0, np.inf, 0, reason), None, reason)
        parity = trial.compare(expected, given, subject.bundle.thresholds)
        drop = _drop(subject, path, at_hand) if spec.precision == "int8" and parity.fault is None else None
        size = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
        refusal = _refusal(parity, drop, max_drop)
        if refusal is None:
            _hand_over(draft, target, spec)
        place = None if refusal else target / spec.file
        return Exported(spec, place, size, milliseconds, parity, drop, refusal)
    except OSError as error:
        raise refused(error, target / spec.file) from error
    finally:
        remove(draft)


def _refusal(parity: Parity, drop: Drop | None, max_drop: float) -> str | None:
    if parity.fault:
        return parity.fault
    if drop is None:
        return None if parity.is_exact else parity.in_words
    if drop.points <= max_drop:
        return None
    return (
        f"{drop.in_words} of accuracy lost on the {drop.pictures} pictures of {drop.part}, "
        f"more than --max-drop {max_drop:g}"
    )


def _drop(subject: Subject, path: Path, at_hand: ExportPictures) -> Drop:
    images, truth = at_hand.to_score()
    before = subject.reference.predict_proba(images)
    after, _ = trial.answers_of(path, images)
    bars = None if subject.bundle.thresholds is None else np.array(subject.bundle.thresholds)
    points, low, high = accuracy_drop(truth, before, after, bars)
    return Drop(at_hand.scored_part, len(truth), points, low, high)


def _hand_over(draft: Path, target: Path, spec: ExporterSpec) -> None:
    """Put what was tried into its place, what belongs to it first."""
    for name in (*spec.companions, spec.file):
        place = target / name
        if place.is_dir():
            shutil.rmtree(place)
        (draft / name).replace(place)


def _keras(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    from transfer_cli.engine.labelled_archive import add_facts

    subject.network.save(path)
    add_facts(path, ExportedFacts.of_bundle(subject.bundle, exporters.KERAS))
    sealing.seal(path)


def _saved_model(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    from transfer_cli.engine.saved_model import write_saved_model

    facts = ExportedFacts.of_bundle(subject.bundle, exporters.SAVED_MODEL)
    write_saved_model(
        subject.network,
        path,
        size=subject.bundle.image_size,
        resize=subject.bundle.resize,
        assets={FACTS: b"{}", LABELS: facts.labels_text.encode("utf-8", "surrogateescape")},
    )
    files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / SAVED_FACTS)
    digests = {file.relative_to(path).as_posix(): digest_of_file(file).sha256 for file in files}
    (path / SAVED_FACTS).write_text(facts.model_copy(update={"files": digests}).json_text())
    sealing.seal(path / SAVED_FACTS)


def _litert(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    shutil.copyfile(subject.graph, path)
    _say_what_it_is(subject, path, exporters.LITERT)


def _litert_int8(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    from transfer_cli.engine.quantize import write_litert_int8

    write_litert_int8(subject.network, at_hand.to_calibrate(), path)
    _say_what_it_is(subject, path, exporters.LITERT_INT8)


def _say_what_it_is(subject: Subject, path: Path, format: str) -> None:
    from transfer_cli.engine.litert_metadata import with_metadata

    path.write_bytes(with_metadata(path.read_bytes(), ExportedFacts.of_bundle(subject.bundle, format)))
    sealing.seal(path)


def _onnx(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    subject.write_onnx(path, ExportedFacts.of_bundle(subject.bundle, exporters.ONNX))
    sealing.seal(path)


def _openvino(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    from transfer_cli.engine.openvino_writing import write_openvino

    facts = _facts_with_companions(subject, exporters.find(exporters.OPENVINO))
    write_openvino(subject.graph, path, _words(facts))
    _seal_with_companions(path, facts)


def _openvino_int8(subject: Subject, path: Path, at_hand: ExportPictures) -> None:
    from transfer_cli.engine.openvino_writing import write_openvino_int8

    facts = _facts_with_companions(subject, exporters.find(exporters.OPENVINO_INT8))
    write_openvino_int8(subject.graph, subject.bundle.image_size, at_hand.to_calibrate(), path, _words(facts))
    _seal_with_companions(path, facts)


def _words(facts: ExportedFacts) -> dict[str, str]:
    # OpenVINO's own tools take labels with spaces between them.
    labels = " ".join("_".join(name.split()) for name in facts.class_names)
    return {"model_type": "Classification", "labels": labels, FACTS: facts.json_text()}


def _facts_with_companions(subject: Subject, spec: ExporterSpec) -> ExportedFacts:
    """Return facts that keep the room for the digests of files that are not there yet."""
    facts = ExportedFacts.of_bundle(subject.bundle, spec.name)
    return facts.model_copy(update={"files": dict.fromkeys(spec.companions, _LATER)})


def _seal_with_companions(path: Path, facts: ExportedFacts) -> None:
    text = path.read_bytes()
    for name in facts.files:
        text = text.replace(_LATER.encode(), digest_of_file(path.parent / name).sha256.encode())
    path.write_bytes(text)
    sealing.seal(path)


_WRITERS: dict[str, Callable[[Subject, Path, ExportPictures], None]] = {
    exporters.KERAS: _keras,
    exporters.SAVED_MODEL: _saved_model,
    exporters.LITERT: _litert,
    exporters.LITERT_INT8: _litert_int8,
    exporters.ONNX: _onnx,
    exporters.OPENVINO: _openvino,
    exporters.OPENVINO_INT8: _openvino_int8,
}
