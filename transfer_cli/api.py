"""The functions of Python users: trainings with keyword arguments named as the options of the commands, and predict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from transfer_cli import training_options
from transfer_cli.arguments import StrPath, check_type
from transfer_cli.catalog import runtimes
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.image_inputs import ImageInputs, image_items
from transfer_cli.data.predictions import Predictions
from transfer_cli.equivalent_command import equivalent_command
from transfer_cli.image_classifier import ImageClassifier, warn_of_skipped
from transfer_cli.inference.load import load as load_model
from transfer_cli.inference.models import AbstractModel
from transfer_cli.inference.predict import predict_items
from transfer_cli.inference.restricted_classes import restrict
from transfer_cli.keywords import check_keywords, takes
from transfer_cli.metrics.score import score_rows, scores_of
from transfer_cli.progress import SILENT, Progress
from transfer_cli.progress_bar import progress_of
from transfer_cli.python_wording import speaks_python
from transfer_cli.runs.request import TrainingResult
from transfer_cli.trained_run import TrainedRepeats, TrainedRun
from transfer_cli.training_options import (
    AutoKeywords,
    EnsembleKeywords,
    ExtractKeywords,
    FinetuneKeywords,
    RepeatKeywords,
)

if TYPE_CHECKING:
    from transfer_cli.inference.reject import Rejector
    from transfer_cli.io.cache import Cache
    from transfer_cli.training.planning.estimate import Plan
    from transfer_cli.training.repeat_results import Repeats


@overload
def extract(
    folder: StrPath | ImageFolder,
    *,
    repeats: None = None,
    progress: bool | Progress = False,
    **keywords: Unpack[ExtractKeywords],
) -> TrainedRun: ...


@overload
def extract(
    folder: StrPath | ImageFolder,
    *,
    repeats: int,
    progress: bool | Progress = False,
    **keywords: Unpack[ExtractKeywords],
) -> TrainedRepeats: ...


@takes(ExtractKeywords)
def extract(
    folder: StrPath | ImageFolder,
    *,
    repeats: int | None = None,
    progress: bool | Progress = False,
    **keywords: Unpack[ExtractKeywords],
) -> TrainedRun | TrainedRepeats:
    """Train a classifier fast: a fixed pretrained network plus a linear classifier.

    The keyword arguments are the options of ``transfer-cli extract``; None is their default.

    Parameters
    ----------
    folder : path or ImageFolder
        One sub-folder of images per class, or a CSV file with the columns path,label.
    progress : bool or Progress
        True: show a bar and messages on stderr.
    output : path
        The run to write. [runs/NAME]
    backbone, weights : str or path
        Pretrained network to build on, or a ``.keras`` file; its weights may be those of an earlier run.
        [mobilenet_v2, imagenet]
    pooling, layer : str
        How to pool the feature maps, and the layer to use instead of the last one.
        [levels; avg for finetune and with a layer]
    preprocess : str
        How a network in a file expects its pixels: ``inside``, ``0-1``, ``-1-1``, ``tf``, ``torch`` or ``caffe``.
    classifier : str
        Classifier to train on the features. [lda; logistic for several labels per image]
    tune : bool
        Tune its regularisation strength. [for the fast classifiers]
    recipe : path or str
        A built-in recipe, or a TOML file.
    set : mapping of str to object
        Any other setting of the recipe: ``set={"batch_size": 16}``.
    seed : int
        Random seed. [0]
    split : path
        Table with the train/val/test part of each image. [a new split]
    group_by : str
        Never split a group between train and test.
    class_map, omit : path
        Tables that merge, rename or leave out classes, and leave out images.
    bags : int
        Bagging: train that number of models and average them.
    method : str
        With `bags`: how their predictions are combined, as by `ensemble`. [average]
    repeats : int
        Train that number of times, with the seeds (of training and split) `seed`, `seed` + 1 ...; the scores of the
        runs show how far chance moves them.
    min_accuracy : float
        Raise GateError and save no model if test accuracy is lower, 0 to 1.
    strict, overwrite, offline : bool
        Stop at the first unreadable image; replace an existing run; never connect to the internet.
    class_level, path_column, label_column, images, bit_depth, runtime, cache_limit
        As the options of the command: ``transfer-cli extract --help``.

    Returns
    -------
    TrainedRun
        The same call again returns the finished run.
    TrainedRepeats
        With ``repeats=N``: the runs, and mean, standard deviation and range of their scores.

    Raises
    ------
    TransferError
        FolderError, RecipeError, RunError, WeightsError, GateError ...: the message and `hint` tell what to do.
    """
    options, reported = _with_repeats("extract", repeats, keywords), progress_of(progress)
    command = equivalent_command("extract", [folder], options)
    job = training_options.extract_job(folder, options, command, reported)
    return _trained_repeats(job.run_repeats(), reported) if repeats else _trained(job.run(), reported)


@overload
def finetune(
    folder: StrPath | ImageFolder,
    *,
    repeats: int,
    plan: Literal[False] = False,
    progress: bool | Progress = False,
    **keywords: Unpack[FinetuneKeywords],
) -> TrainedRepeats: ...


@overload
def finetune(
    folder: StrPath | ImageFolder,
    *,
    repeats: None = None,
    plan: Literal[False] = False,
    progress: bool | Progress = False,
    **keywords: Unpack[FinetuneKeywords],
) -> TrainedRun: ...


@overload
def finetune(
    folder: StrPath | ImageFolder,
    *,
    repeats: None = None,
    plan: Literal[True],
    progress: bool | Progress = False,
    **keywords: Unpack[FinetuneKeywords],
) -> Plan: ...


@takes(FinetuneKeywords)
def finetune(
    folder: StrPath | ImageFolder,
    *,
    repeats: int | None = None,
    plan: bool = False,
    progress: bool | Progress = False,
    **keywords: Unpack[FinetuneKeywords],
) -> TrainedRun | TrainedRepeats | Plan:
    """Train the network itself on your images: slower than `extract`, usually more accurate.

    The keyword arguments are the options of ``transfer-cli finetune``; None is their default. Those that are not listed
    here are as for `extract`.

    Parameters
    ----------
    folder : path or ImageFolder
        One sub-folder of images per class, or a CSV file with the columns path,label.
    plan : bool
        Dry run: return split, epochs and estimated time, memory and disk; train nothing.
    epochs, lr : int or "auto", float
        Epochs and highest learning rate of the last stage. [those of the recipe]
    batch_size : int
        Images per batch, in all stages.
    progress : bool or Progress
        True: show a bar and messages on stderr.
    unlabelled : path
        Also train on the unlabelled images in this folder (pseudo-labelling).
    time_budget : float or str
        Reduce the epochs so that the training ends within this time: seconds, or text such as ``"10m"``.
    precision : {"float32", "mixed_float16", "mixed_bfloat16"}
        Number format during training; the mixed ones are for GPUs.
    tensorboard : bool
        Also write TensorBoard logs.

    Returns
    -------
    TrainedRun
        An interrupted training continues after its last finished epoch.
    TrainedRepeats
        With ``repeats=N``, as `extract`.
    Plan
        With ``plan=True``.

    Raises
    ------
    TransferError
        As `extract`.
    """
    options, reported = _with_repeats("finetune", repeats, keywords), progress_of(progress)
    command = equivalent_command("finetune", [folder], options)
    job = training_options.finetune_job(folder, options, command, reported)
    if plan:
        return job.plan()
    return _trained_repeats(job.run_repeats(), reported) if repeats else _trained(job.run(), reported)


@takes(AutoKeywords)
def auto(
    folder: StrPath | ImageFolder, *, progress: bool | Progress = False, **keywords: Unpack[AutoKeywords]
) -> TrainedRun:
    """Train several models within a time limit, keep the best, test it once and write an HTML report.

    The keyword arguments are the options of ``transfer-cli auto``; those that are not listed here are as for `extract`.

    Parameters
    ----------
    folder : path or ImageFolder
        One sub-folder of images per class, or a CSV file with the columns path,label.
    progress : bool or Progress
        True: show a bar and messages on stderr.
    time_budget : float or str
        Target time for all: seconds, or text such as ``"30m"``. [10m]
    among : str or sequence of str
        Try only these networks: names or wildcards. [all with installed weights]
    download : bool
        Download missing pretrained weights.

    Raises
    ------
    TransferError
        As `extract`.
    """
    from transfer_cli.auto.auto import auto as train

    reported, command = progress_of(progress), equivalent_command("auto", [folder], keywords)
    request, recipe = training_options.auto_request(folder, keywords, command, reported)
    return _trained(training_options.naming(keywords)(request, lambda own: train(own, recipe)), reported)


@takes(EnsembleKeywords)
def ensemble(
    runs: Sequence[StrPath], *, progress: bool | Progress = False, **keywords: Unpack[EnsembleKeywords]
) -> TrainedRun:
    """Combine several trained models into one.

    Parameters
    ----------
    runs : sequence of path or TrainedRun
        Two or more finished runs with the same classes and the same split.
    output : path
        The run to write. [runs/ensemble-FOLDER]
    progress : bool or Progress
        True: show a bar and messages on stderr.
    method : {"average", "vote", "weighted", "greedy", "stack", "soup"}
        How the predictions are combined. [weighted; average if there are no validation images]
    max_models, max_ms
        ``greedy`` only: maximum number of members, and of milliseconds per image.
    seed : int
        Random seed of the cross-validation folds. [0]
    images : path
        Folder of the images, if it has moved since training.
    overwrite : bool
        Replace an existing run.
    cache_limit : int or str
        Maximum size of the cache, such as ``"5GB"``.

    Raises
    ------
    TransferError
        InputError, RunError or ModelError: the runs do not fit together, or are not finished.
    """
    from transfer_cli.ensembling.ensemble import ensemble as combine

    if isinstance(runs, str | os.PathLike):
        raise TypeError(f"Expected a sequence of two or more runs. Received: one path, {os.fspath(runs)!r}.")
    reported, command = progress_of(progress), equivalent_command("ensemble", runs, keywords)
    request, recipe = training_options.ensemble_request(runs, keywords, command, reported)
    return _trained(training_options.naming(keywords)(request, lambda own: combine(own, recipe)), reported)


@speaks_python
def load(
    source: StrPath,
    *,
    runtime: str = runtimes.AUTO,
    images: int = 0,
    offline: bool = False,
    cache: Cache | None = None,
    progress: bool | Progress = False,
) -> AbstractModel:
    """Load a model as a function of arrays; `ImageClassifier.load` gives one that reads images, too.

    Parameters
    ----------
    source : str or os.PathLike
        A run, its ``model`` folder, a packed bundle (``.zip``), an exported file, or ``imagenet:BACKBONE`` with its
        1000 classes.
    runtime : str
        ``auto``: the runtime that the bundle was made for, or Keras on a GPU.
    images : int
        Number of images to predict, as far as it is known.
    offline : bool
        Never connect to the internet.
    cache : Cache, optional
        Where converted graphs are stored; the user's cache by default.
    progress : bool or Progress
        True: show a bar and messages on stderr.

    Raises
    ------
    ModelError
        If the model is missing, damaged or of another format version, or holds an unexpected type.
    WeightsError
        If the weights of ``imagenet:BACKBONE`` are missing and cannot be downloaded.
    MissingExtraError
        If the runtime is not installed.
    """
    settings: dict[str, Any] = {"runtime": runtime, "images": images, "offline": offline, "cache": cache}
    return load_model(source, progress=progress_of(progress), **settings)


@speaks_python
def predict(
    model: AbstractModel | ImageClassifier | StrPath,
    images: ImageInputs,
    *,
    batch_size: int = 32,
    strict: bool = False,
    rejector: Rejector | None = None,
    only: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> Iterator[Predictions]:
    """Yield predictions batch by batch, in order; memory use does not depend on the number of images.

    Parameters
    ----------
    model : AbstractModel, ImageClassifier or path
    images : path, folder, array, PIL image, or an iterable of these
        Arrays are RGB, uint8, of shape (h, w, 3) or (n, h, w, 3) and any size. A generator may be endless.
    batch_size : int
        Images per batch.
    strict : bool
        Raise ImageError at the first image that cannot be read, instead of listing it as skipped.
    rejector : Rejector, optional
        Labels images as ``unknown``. It has a model of its own.
    only, exclude : iterable of str
        Classes to predict, or to leave out; the probabilities of the others are renormalised.

    Raises
    ------
    TypeError, ValueError
        If `images` are of another type or shape, or if there are none.
    """
    check_type(
        model, (AbstractModel, ImageClassifier, str, os.PathLike), "a loaded model, an ImageClassifier or a path"
    )
    items = image_items(images)
    if isinstance(model, str | os.PathLike):
        model = load(model)
    loaded = restrict(model.model if isinstance(model, ImageClassifier) else model, only=only, exclude=exclude)
    return _warning(predict_items(loaded, items, batch_size=batch_size, strict=strict, rejector=rejector))


def _with_repeats(function: str, repeats: int | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a training, once its number of repeats is checked as other keywords are."""
    given = {} if repeats is None else {"repeats": repeats}
    check_keywords(function, RepeatKeywords, given, set())
    return {**keywords, **given}


def _trained_repeats(repeats: Repeats, progress: Progress) -> TrainedRepeats:
    for line in repeats.summary():
        progress.note(line)
    runs = tuple(_trained(result, SILENT) for result in repeats.results)
    for result in repeats.results:
        warn_of_skipped(progress, result.skipped)
    return TrainedRepeats(repeats.directory.path, runs, repeats.seeds, repeats.spreads, repeats.varied)


def _trained(result: TrainingResult, progress: Progress) -> TrainedRun:
    if result.was_complete:
        progress.note("this run is already complete; nothing to do")
    for part, name, text in score_rows(scores_of(result.metrics)):
        progress.note(f"{part} {name} {text}")
    warn_of_skipped(progress, result.skipped)
    return TrainedRun(result.run, result.metrics, result.skipped, result.was_complete)


def _warning(batches: Iterator[Predictions]) -> Iterator[Predictions]:
    progress = progress_of(False)
    for batch in batches:
        warn_of_skipped(progress, batch.skipped)
        yield batch
