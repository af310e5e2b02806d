"""From a folder to a model that is hard to beat by hand, in a given time: each step is a command of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Unpack

from transfer_cli.auto.final_test import FinalTest, take_recipe
from transfer_cli.auto.progress import AutoProgress
from transfer_cli.auto.search import ModelSearch, words_of
from transfer_cli.auto.state import AutoState
from transfer_cli.data.groups import NEAR_DUPLICATES, must_part
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.errors import InputError
from transfer_cli.io.atomic import write_text
from transfer_cli.ranking.candidates import Candidates
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.report.report import report
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.request import Options, TrainingRequest, TrainingResult
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.text import counted
from transfer_cli.training.setup import lifecycle
from transfer_cli.training.setup.preflight import Survey, survey
from transfer_cli.training.setup.val_split import with_val

_FEW = 30
"""With fewer pictures of val a person is told by how many it is chosen."""


def auto(folder: ImageFolder, recipe: AutoRecipe, run: RunDirectory, **options: Unpack[Options]) -> TrainingResult:
    """Make the best model that a folder of pictures and some minutes allow, and say honestly how good it is.

    The parts are decided first, and the pictures of test are put aside: no step before the last is given them. The
    others are checked, the backbones whose weights are here are ranked, the best ones extracted and fine-tuned, and
    all of that is joined. Of these models that with the lowest log loss on val is taken; an ensemble in its place
    only where val says that it is better (see choosing.Choice). Then test is read, once, and the report is written.

    Parameters
    ----------
    folder : ImageFolder
    recipe : AutoRecipe
    run : RunDirectory
        Where everything is written: the model that was taken as a run like any other, and each step in ``steps``. A
        stopped one does what is missing, in the time that is left; a complete run of the same choices and the same
        folder is returned as it is.
    **options
        See training.Options; the time budget is the recipe's.

    Raises
    ------
    FolderError
        When too few pictures can be read to learn from.
    WeightsError
        When no backbone's weights are here.
    RunError
        When the run directory holds another run.
    GateError
        When the accuracy on test is below the one that was asked for.
    """
    request = TrainingRequest(folder, run, **options)
    if recipe.group_by == NEAR_DUPLICATES:
        raise InputError(
            "auto cannot group by near-duplicates: they are found by the features of a backbone, and none is chosen "
            "yet.",
            hint="Write the parts down first: transfer-cli data split FOLDER --group-by near-duplicates, then --split",
        )
    if recipe.group_by is not None:
        must_part([file.path for file in folder.files], recipe.group_by)
    Candidates.among(recipe.among, (), download=recipe.download)
    if request.overwrite or not (run.auto.is_file() and run.steps.is_dir()):
        with run.released():
            return _Auto(request, recipe, AutoState.begin(recipe)).begin()
    state = AutoState.read(run)
    state.must_match(run, recipe, folder.source)
    if state.is_complete(run):
        return _known(request, state)
    with run.released():
        return _Auto(request, recipe, state).go_on()


def _known(request: TrainingRequest, state: AutoState) -> TrainingResult:
    """Return what a run came to whose figures of test are there."""
    split = request.split and _followed(request.split, Split.read(request.run.split))
    return lifecycle.complete(replace(request, split=split), lambda split: state.val_note)


def _followed(request: Split, was: Split) -> Split:
    """Return what a split says of a run's parts, less the pictures that it leaves to be held out of train."""
    if "val" in request.counts():
        return request
    held_out = {row.path for row in was.rows if row.part == "val"}
    return replace(request, rows=tuple(row for row in request.rows if row.part == "test" or row.path not in held_out))


class _Auto:
    """One run on its way from a folder to a report."""

    def __init__(self, request: TrainingRequest, recipe: AutoRecipe, state: AutoState) -> None:
        self._request, self._recipe = request, recipe
        self._run, self._progress = request.run, request.progress
        self._standing = AutoProgress(request, state)

    def begin(self) -> TrainingResult:
        run, request = self._run, self._request
        run.begin(self._recipe, request.folder.source, command=request.command, overwrite=request.overwrite)
        run.log("begin", folder=str(request.folder.source.resolve()), seconds=self._recipe.seconds)
        return self._make()

    def go_on(self) -> TrainingResult:
        """Do what a stopped command left undone; what it was by then is in auto.json, whatever else it wrote."""
        self._run.hold()
        if self._standing.state.is_tested(self._run):
            self._progress.note("test was read by an earlier command: its figures are taken")
            result = _known(self._request, self._standing.state)
            if self._run.read_recipe().get("method") == self._recipe.method:
                take_recipe(self._run, self._standing.step_run(self._standing.state.winner))
            return self._reported(replace(result, was_complete=False))
        write_text(self._run.recipe, self._recipe.to_toml())
        return self.begin()

    def _make(self) -> TrainingResult:
        try:
            self._standing.keep()
            self._parted()
            winner = self._decided() or ModelSearch(self._request, self._recipe, self._found, self._standing).winner()
            finale = FinalTest(self._request, self._found, winner)
            self._standing.note(6, f"{self._standing.state.winner} is asked about test, once")
            return self._reported(finale.write())
        finally:
            # However it ends, what it took is not to be had twice.
            self._standing.keep()

    def _parted(self) -> None:
        split = self._found.split
        self._standing.note(1, f"the parts: {split.summary()}; test is put aside")
        for line in split.warnings():
            self._progress.warn(line)
        if 0 < (held_out := split.counts().get("val", 0)) < _FEW:
            self._progress.warn(
                f"what is best is chosen by {counted(held_out, 'picture')} of val: so few say little of which is better"
            )
        split.write(self._run.split)

    def _decided(self) -> TrainingResult | None:
        """Return the model that an earlier command took, before it read test."""
        run = self._standing.step_run(self._standing.state.winner)
        if not self._standing.state.winner or not run.is_complete(with_model=True, with_features=False):
            return None
        self._standing.note(5, f"{self._standing.state.winner} was taken by an earlier command")
        return TrainingResult(run, run.read_metrics(), (), self._standing.state.val_note)

    def _reported(self, result: TrainingResult) -> TrainingResult:
        with self._progress.track("writing the report", None):
            report(FinishedRun.read(self._run.path), progress=self._request.silent().progress)
        self._standing.keep()
        self._standing.note(7, f"the report: {self._run.report}; {self._standing.spent():.0f} s in all")
        return result

    @cached_property
    def _found(self) -> Survey:
        """All pictures as they are parted; where nothing is held out to compare by, some of train are."""
        recipe = words_of(self._recipe, FinetuneRecipe, {}).resolved(self._request.folder.task)
        return with_val(self._request, recipe, survey(self._request.silent(), recipe, decodes=False))


__all__ = ["auto"]
