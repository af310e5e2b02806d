"""A trained image classifier: the entry point of Python users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from pydantic import Field

from transfer_cli.arguments import StrPath, as_path, as_text
from transfer_cli.bundle.bundle import ModelBundle, OpenedBundle
from transfer_cli.bundle.files import MODEL_CARD_FILE
from transfer_cli.calibration.rejection import COVERAGE
from transfer_cli.catalog import runtimes
from transfer_cli.data.image_inputs import ImageInputs, PixelItem, image_items
from transfer_cli.data.predictions import Predictions
from transfer_cli.data.skipped import Skipped
from transfer_cli.errors import InputError, ModelError
from transfer_cli.html_table import html_table
from transfer_cli.inference.exported_model import is_exported
from transfer_cli.inference.load import load, unpacked_source
from transfer_cli.inference.models import IMAGENET, AbstractModel
from transfer_cli.inference.predict import predict_items
from transfer_cli.io.cache import Cache
from transfer_cli.io.discovery import describe_left_out
from transfer_cli.keywords import takes
from transfer_cli.metrics.score import Scores, score_rows, scores_of
from transfer_cli.progress import Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.python_wording import speaks_python
from transfer_cli.runs.run_of_model import run_of_model
from transfer_cli.text import counted, listed

if TYPE_CHECKING:
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.evaluation.evaluate import Evaluation
    from transfer_cli.explain.explain import Explanations
    from transfer_cli.export.results import ExportResult
    from transfer_cli.inference.reject import Rejector
    from transfer_cli.rendering.prediction_sheet import PredictionSheet
    from transfer_cli.runs.run_directory import RunDirectory

_Share = Annotated[float, Field(ge=0, le=1)]
_LISTED = 20


class PredictKeywords(TypedDict, total=False):
    """The keyword arguments of `ImageClassifier.predict`."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] | None
    tta: str | int | None
    unknown: bool
    coverage: Annotated[float, Field(gt=0, le=1)] | None
    threshold: _Share | None
    only: str | Sequence[str] | None
    exclude: str | Sequence[str] | None
    sheet: StrPath | None
    strict: bool


class EvaluateKeywords(TypedDict, total=False):
    """The keyword arguments of `ImageClassifier.evaluate`."""

    output: StrPath | None
    part: Literal["train", "val", "test"] | None
    tta: str | int | None
    perturb: bool
    seed: Annotated[int, Field(ge=0)] | None
    strict: bool


class ExplainKeywords(TypedDict, total=False):
    """The keyword arguments of `ImageClassifier.explain`."""

    output: StrPath | None
    method: str | None
    classes: str | Sequence[str] | None
    layer: str | None
    write_boxes: StrPath | None


class ExportKeywords(TypedDict, total=False):
    """The keyword arguments of `ImageClassifier.export`."""

    output: StrPath | None
    images: StrPath | None
    max_drop: Annotated[float, Field(ge=0, le=100)] | None


class ImageClassifier:
    """A trained model: classifies images, measures and explains itself, and exports itself.

    Made by `load`, or by a training (`extract(...).classifier`).

    Attributes
    ----------
    path : str
        The run, bundle, packed bundle, exported file or ``imagenet:BACKBONE`` that it was loaded from.
    model : AbstractModel
        Maps uint8 arrays of shape (n, size, size, 3) to probabilities: ``model.predict_proba``.
    """

    def __init__(
        self, path: str, model: AbstractModel, runtime: str, offline: bool, cache: Cache, *, source: str | None = None
    ) -> None:
        self.path, self.model = path, model
        # A packed bundle is read from the folder where it was unpacked.
        self._source = source or path
        self._loading: dict[str, Any] = {"runtime": runtime, "offline": offline, "cache": cache}

    @classmethod
    @speaks_python
    def load(
        cls,
        path: StrPath,
        *,
        runtime: str = runtimes.AUTO,
        offline: bool = False,
        progress: bool | Progress = False,
    ) -> ImageClassifier:
        """Load a trained model.

        Parameters
        ----------
        path : str or os.PathLike
            A run (the folder that a training wrote), the ``model`` folder in it, a packed bundle (``.zip``), an
            exported file, or ``imagenet:BACKBONE`` for a pretrained network with its 1000 classes.
        runtime : str
            ``litert``, ``keras`` or ``openvino``; ``auto``: the fastest that is installed.
        offline : bool
            Never connect to the internet.
        progress : bool or Progress
            True: show a bar and messages on stderr.

        Raises
        ------
        ModelError
            If the model is missing, damaged or too new.
        WeightsError
            If the weights of ``imagenet:BACKBONE`` are missing and cannot be downloaded.
        MissingExtraError
            If the runtime is not installed.
        """
        given = as_text(path, "a run, a bundle, an exported file or imagenet:BACKBONE")
        reported, cache = progress_of(progress), Cache.of_user()
        with reported.track("loading the model", None):
            source = unpacked_source(given)
            model = load(source, runtime=runtime, offline=offline, cache=cache, progress=reported)
        return cls(given, model, runtime, offline, cache, source=source)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.model.class_names

    @property
    def classes(self) -> tuple[str, ...]:
        """The same as `class_names`."""
        return self.model.class_names

    @property
    def size(self) -> int:
        """Side of the square in pixels to which images are resized."""
        return self.model.image_size

    @property
    def is_multi_label(self) -> bool:
        """Whether an image has any number of labels instead of one class."""
        return self.model.thresholds is not None

    @property
    def scores(self) -> Scores:
        """The scores of the run that the model belongs to, ``{part: {metric: Score}}``; empty if it is in none."""
        run = None if self._opened is None else run_of_model(self._source)
        return scores_of(run.read_metrics()) if run and run.metrics.is_file() else {}

    @property
    def info(self) -> Mapping[str, object]:
        """What ``transfer-cli bundle show --json`` prints: classes, backbone, versions, digests of the files.

        Raises
        ------
        ModelError
            If the model is an exported file or ``imagenet:BACKBONE``.
        """
        return self._bundle().bundle.to_dict()

    @property
    def card(self) -> str:
        """The model card, a page of Markdown on the data, scores and limits.

        Raises
        ------
        ModelError
            If the model has none.
        """
        file = self._bundle().directory / MODEL_CARD_FILE
        if not file.is_file():
            raise ModelError(f"The model at {self.path} has no model card.")
        return file.read_text("utf-8")

    @takes(PredictKeywords)
    def predict(
        self, images: ImageInputs, *, progress: bool | Progress = False, **keywords: Unpack[PredictKeywords]
    ) -> Predictions:
        """Classify images.

        Parameters
        ----------
        images : path, folder, array, PIL image, or an iterable of these
            Arrays are RGB, uint8, of shape (h, w, 3) or (n, h, w, 3) and any size.
        progress : bool or Progress
            True: show a bar on stderr.
        batch_size : int, optional
            Images per batch. [32]
        tta : str or int, optional
            Test-time augmentation: ``flip``, ``ten-crop``, or a number of random variants.
        unknown : bool
            Label an image ``unknown`` if the model is unsure or it is unlike the training images.
        coverage : float, optional
            As `unknown`, so that this share of the validation images keeps a label. [0.92]
        threshold : float, optional
            Label an image ``unknown`` if its confidence is lower.
        only, exclude : sequence of str, optional
            Classes to predict, or to leave out; the probabilities of the others are renormalised.
        sheet : path, optional
            PNG file to draw: the images with bars of their three most probable classes, and the true label if the name
            of a folder tells it. Of more than 120 images one in two, four ... is drawn; of arrays from a generator the
            bars alone.
        strict : bool
            Raise ImageError at the first image that cannot be read, instead of listing it in ``skipped``.

        Returns
        -------
        Predictions
            In input order. Images that could not be read are in ``skipped``, with a warning.

        Raises
        ------
        TypeError, ValueError
            If `images` are of another type or shape, or if there are none.
        InputError
            If no image could be read.
        """
        reported, left_out = progress_of(progress), Counter[str]()
        sheet = self._sheet(keywords.get("sheet"), images)
        items = image_items(images, left_out)
        # A generator of arrays may be larger than the memory.
        known = None if isinstance(images, Iterator) else [*items]
        model, rejector = self._model_for(keywords)
        batches: list[Predictions] = []
        with reported.track("predicting", None if known is None else len(known)) as advance:
            given = {key: keywords.get(key) for key in ("batch_size", "strict")}
            settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
            for batch in predict_items(model, items if known is None else known, rejector=rejector, **settings):
                batches.append(batch)
                advance(len(batch.paths) + len(batch.skipped))
        predictions = Predictions.concatenate(batches)
        if not predictions.paths:
            reasons = "".join(f"\n  {item.path}: {item.reason}" for item in predictions.skipped[:_LISTED])
            raise InputError(f"Nothing was predicted: no image could be read.{reasons}")
        if sheet:
            for batch in batches:
                sheet.add(batch)
            in_memory = {item.name: item for item in known or () if isinstance(item, PixelItem)}
            for line in sheet.write(in_memory):
                reported.warn(line)
        warn_of_skipped(reported, predictions.skipped, left_out)
        return predictions

    @takes(EvaluateKeywords)
    def evaluate(
        self, folder: ImageFolder | StrPath, *, progress: bool | Progress = False, **keywords: Unpack[EvaluateKeywords]
    ) -> Evaluation:
        """Measure the model on labelled images, and write the result to a folder.

        Parameters
        ----------
        folder : path or ImageFolder
            One sub-folder of images per class, or a CSV file with the columns path,label.
        progress : bool or Progress
        output : path, optional
            Folder to write. [RUN/evaluations/NAME]
        part : {"train", "val", "test"}, optional
            Evaluate only this part, if the folder has such sub-folders.
        tta : str or int, optional
            Test-time augmentation.
        perturb : bool
            Also measure the accuracy under shifts, turns, scale, blur, noise, darkness and JPEG compression.
        seed : int, optional
            Of the perturbations. [0]
        strict : bool
            Raise ImageError at the first image that cannot be read.

        Returns
        -------
        Evaluation
            ``scores[fair_part]`` is the score on images that the model was not trained on.

        Raises
        ------
        InputError
            If the classes are not those of the model, or no image could be read.
        """
        from transfer_cli.data.image_folder import ImageFolder
        from transfer_cli.evaluation.evaluate import evaluate

        images = folder if isinstance(folder, ImageFolder) else ImageFolder.scan(folder, for_training=False)
        part, tta = keywords.get("part"), keywords.get("tta")
        perturb, seed = keywords.get("perturb", False), keywords.get("seed") or 0
        name = "-".join(str(word) for word in (images.name, part, tta, "perturb" * perturb) if word)
        output = keywords.get("output") or self._run().evaluations / name
        strict, reported = keywords.get("strict", False), progress_of(progress)
        method = None if tta is None else str(tta)
        settings: dict[str, Any] = {"part": part, "tta": method, "perturb": perturb, "seed": seed, "strict": strict}
        evaluation = evaluate(self._source, images, output, progress=reported, **settings, **self._loading)
        warn_of_skipped(reported, evaluation.skipped)
        return evaluation

    @takes(ExplainKeywords)
    def explain(
        self, images: ImageInputs, *, progress: bool | Progress = False, **keywords: Unpack[ExplainKeywords]
    ) -> Explanations:
        """Draw saliency maps of what predictions are based on, test each, and write them to a folder.

        Parameters
        ----------
        images : path, folder, array, PIL image, or an iterable of these
        progress : bool or Progress
        output : path, optional
            Folder to write. [RUN/explanations]
        method : str, optional
            ``grad-cam`` or ``occlusion``.
        classes : str or sequence of str, optional
            The classes to explain. [the predicted one]
        layer : str, optional
            Layer that Grad-CAM uses.
        write_boxes : path, optional
            JSON file for a box around each map, in the batch format of MegaDetector: weak localisation, not a detector.

        Raises
        ------
        UnknownNameError
            If there is no such class, method or layer.
        InputError
            If no image could be read.
        """
        from transfer_cli.explain.explain import explain
        from transfer_cli.explain.explainable import Explainable

        reported, classes = progress_of(progress), keywords.get("classes")
        target = as_path(keywords.get("output") or self._run().explanations, "a folder")
        method, layer = keywords.get("method"), keywords.get("layer")
        opened = Explainable.open(self._source, method=method, layer=layer, progress=reported, **self._loading)
        names, boxes = _names(classes), keywords.get("write_boxes")
        explanations = explain(opened, images, target, class_names=names, write_boxes=boxes, progress=reported)
        warn_of_skipped(reported, explanations.skipped)
        return explanations

    @takes(ExportKeywords)
    def export(
        self,
        format: str | Sequence[str] = "litert",
        *,
        progress: bool | Progress = False,
        **keywords: Unpack[ExportKeywords],
    ) -> list[ExportResult]:
        """Export the model to other formats, and compare each file with the model.

        Parameters
        ----------
        format : str or sequence of str
            ``litert``, ``onnx``, ``keras``, ...; ``all``: each whose packages are installed.
        progress : bool or Progress
        output : path, optional
            Folder to write. [RUN/export]
        images : path, optional
            Where the images of the run are now; for a bundle without its run, any folder of images.
        max_drop : float, optional
            Percentage points of test accuracy that an int8 file may lose. [1]

        Raises
        ------
        GateError
            If a file predicts differently; that file is not written.
        UnknownNameError
            If there is no such format.
        MissingExtraError
            If the package of a format is not installed.
        """
        from transfer_cli.export.export import export
        from transfer_cli.export.format_selection import select_formats
        from transfer_cli.export.results import check_results

        reported = progress_of(progress)
        names = format.split(",") if isinstance(format, str) else format
        specs = select_formats(self._source, [name.strip() for name in names], reported)
        target = keywords.get("output") or self._run().path / "export"
        limit: dict[str, Any] = {} if (drop := keywords.get("max_drop")) is None else {"max_drop": drop}
        results = export(self._source, specs, target, images=keywords.get("images"), progress=reported, **limit)
        check_results(results)
        return results

    def __repr__(self) -> str:
        classes = counted(len(self.class_names), "class")
        return f"<ImageClassifier {self.path}: {classes}, {self.size} x {self.size} pixels>"

    def _repr_html_(self) -> str:
        rows = [
            ("classes", listed(self.class_names, _LISTED)),
            ("image size", f"{self.size} x {self.size} pixels"),
            *((f"{name}, {part}", text) for part, name, text in score_rows(self.scores)),
        ]
        return html_table(f"ImageClassifier {self.path}", ("", ""), rows)

    @property
    def _opened(self) -> OpenedBundle | None:
        is_bundle = not self._source.startswith(IMAGENET) and not is_exported(Path(self._source))
        return ModelBundle.open(self._source) if is_bundle else None

    def _bundle(self) -> OpenedBundle:
        if (opened := self._opened) is None:
            raise ModelError(f"{self.path} is not a run or a bundle, which have a model card and a manifest.")
        return opened

    def _run(self) -> RunDirectory:
        """Return the run that the model belongs to, where results about it are written."""
        if run := run_of_model(self._source):
            return run
        raise InputError(
            f"{self.path} is not inside a run, so there is no default output folder.", hint="Pass output=FOLDER."
        )

    def _sheet(self, target: StrPath | None, images: ImageInputs) -> PredictionSheet | None:
        if target is None:
            return None
        from transfer_cli.data.true_labels import TrueLabels
        from transfer_cli.rendering.prediction_sheet import PredictionSheet, check_sheet_target
        from transfer_cli.runs.selection_tables import class_map_of_model

        path, given = as_path(target, "a PNG file"), images if isinstance(images, list | tuple) else [images]
        check_sheet_target(path, None, [str(each) for each in given if isinstance(each, str | PathLike)])
        true_labels = TrueLabels(self.class_names, class_map_of_model(self._source))
        return PredictionSheet(path, true_labels, self.model.views[0].bit_depth)

    def _model_for(self, keywords: PredictKeywords) -> tuple[AbstractModel, Rejector | None]:
        from transfer_cli.inference.reject import Rejector
        from transfer_cli.inference.restricted_classes import restrict
        from transfer_cli.inference.tta import AugmentedModel

        only, exclude = (_names(keywords.get(key)) for key in ("only", "exclude"))
        model, tta = restrict(self.model, only=only, exclude=exclude), keywords.get("tta")
        model = model if tta is None else AugmentedModel(model, str(tta))
        coverage = keywords.get("coverage") or (COVERAGE if keywords.get("unknown") else None)
        threshold = keywords.get("threshold")
        if coverage is None and threshold is None:
            return model, None
        rejector = Rejector(model, coverage=coverage, threshold=threshold)
        return rejector.model, rejector


def _names(names: object) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())  # type: ignore[arg-type]


def warn_of_skipped(progress: Progress, skipped: Sequence[Skipped], left_out: Mapping[str, int] | None = None) -> None:
    """Warn about images that could not be read, and files in folders that were left out."""
    if skipped:
        named = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:_LISTED])
        more = f"; and {len(skipped) - _LISTED} more" if len(skipped) > _LISTED else ""
        progress.warn(f"skipped {counted(len(skipped), 'image')} that could not be read: {named}{more}")
    if left_out and (text := describe_left_out(left_out)):
        progress.warn(text)
