"""Train several models within a time limit, select the best on val, and evaluate it once on test."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from transfer_cli.auto.final_test import FinalTest, copy_recipe
from transfer_cli.auto.search import ModelSearch, recipe_of
from transfer_cli.auto.state import AutoProgress, AutoState
from transfer_cli.data.groups import check_groups_of_folder
from transfer_cli.data.sample_warnings import sample_warnings
from transfer_cli.data.split import Split
from transfer_cli.io.atomic import check_writable_folder, write_text
from transfer_cli.ranking.candidates import Candidates
from transfer_cli.ranking.sample import refuse_near_duplicates
from transfer_cli.ranking.smallest_budget import require_budget
from transfer_cli.recipe.auto import AutoRecipe
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.sections import Classes
from transfer_cli.report.report import report
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.runs.request import TrainingRequest, TrainingResult
from transfer_cli.runs.selection_tables import write_tables
from transfer_cli.text import counted
from transfer_cli.training.setup.claim import completed_result, report_folder
from transfer_cli.training.setup.preflight import Survey, survey, with_val

_MIN_VAL_IMAGES = 30
"""With fewer validation images a warning is shown."""


def auto(request: TrainingRequest, recipe: AutoRecipe) -> TrainingResult:
    """Train several models within a time limit, select the best one, evaluate it on test, and write a report.

    The test images are held out first, and are not used before the last step. The other images are checked; the
    installed backbones are ranked; the best ones are trained by `extract` and `finetune`, and combined by `ensemble`.
    The single model with the lowest log loss on val is selected, or the ensemble if it is better (see `Choice`). The
    selected model is evaluated on test, once.

    Parameters
    ----------
    request : TrainingRequest
        Its run receives the selected model as a run like any other, and each step in ``steps``. An interrupted run
        continues with the missing steps in the time that is left; a complete run of the same recipe and folder is
        returned as it is.
    recipe : AutoRecipe
        Its time budget counts, not that of the request.

    Raises
    ------
    FolderError
        When too few images can be read.
    WeightsError
        When no weights are available for any backbone.
    RunError
        When the run directory holds another run.
    GateError
        When the accuracy on test is below the required one.
    """
    folder, run = request.folder, request.run
    recipe = recipe.model_copy(update={"classes": Classes.of(folder.selection)})
    refuse_near_duplicates("auto", recipe.group_by)
    if recipe.group_by is not None:
        check_groups_of_folder(folder, recipe.group_by)
    candidates = Candidates.select(recipe.among, (), download=recipe.download, offline=request.offline)
    if request.overwrite or not run.auto.is_file():
        require_budget(recipe.seconds, candidates.available, len(folder.files))
    if request.overwrite or not (run.auto.is_file() and run.steps.is_dir()):
        with run.releasing_lock():
            return _Auto(request, recipe, AutoState(recipe.model_dump(mode="json"))).start()
    state = AutoState.read(run)
    state.check_matches(run, recipe, folder.source, request.command)
    if state.is_tested(run) and run.report.is_file():
        return _completed(request, state)
    with run.releasing_lock():
        return _Auto(request, recipe, state).resume()


def _completed(request: TrainingRequest, state: AutoState) -> TrainingResult:
    """Return the result of a run that is evaluated on test already."""
    split = request.split and _without_held_out(request.split, Split.read(request.run.split))
    return completed_result(replace(request, split=split), lambda split: state.val_note)


def _without_held_out(requested: Split, split: Split) -> Split:
    """Return a requested split without the training images that the run has moved to val, if it has no val itself."""
    if "val" in requested.counts():
        return requested
    val = {row.path for row in split.rows if row.part == "val"}
    return replace(requested, rows=tuple(row for row in requested.rows if row.part == "test" or row.path not in val))


class _Auto:
    """The steps of one run, from the split to the report."""

    def __init__(self, request: TrainingRequest, recipe: AutoRecipe, state: AutoState) -> None:
        self._request, self._recipe = request, recipe
        self._run, self._progress = request.run, request.progress
        self._status = AutoProgress(request, state)

    def start(self) -> TrainingResult:
        """Do the missing steps; the time spent counts, even if the command fails or is interrupted."""
        run, request = self._run, self._request
        source, command, overwrite = request.folder.source, request.command, request.overwrite
        run.check_free(self._recipe, source, command=command, overwrite=overwrite)
        check_writable_folder(run.path)
        report_folder(request)
        run.claim(self._recipe, source, command=command, overwrite=overwrite)
        run.write_images(request.folder.images_elsewhere)
        write_tables(run, request.folder.selection)
        run.log("begin", folder=str(request.folder.source.resolve()), seconds=self._recipe.seconds)
        try:
            self._status.save()
            self._write_split()
            search = ModelSearch(request, self._recipe, self._survey, self._status)
            winner = self._selected_before() or search.run()
            final_test = FinalTest(request, self._survey, winner)
            name = self._status.state.winner
            self._status.note(6, f"evaluating {'the ensemble' if name == 'ensemble' else name} on test (once)")
            return self._write_report(final_test.run())
        finally:
            self._status.save()

    def resume(self) -> TrainingResult:
        """Do the missing steps of an interrupted run, as recorded in auto.json."""
        self._run.lock()
        if self._status.state.is_tested(self._run):
            self._progress.note("test was evaluated by an earlier command; its metrics are kept")
            result = _completed(self._request, self._status.state)
            if self._run.read_recipe().get("method") == self._recipe.method:
                copy_recipe(self._status.step_run(self._status.state.winner), self._run)
            return self._write_report(replace(result, was_complete=False))
        write_text(self._run.recipe, self._recipe.to_toml())
        return self.start()

    def _write_split(self) -> None:
        split = self._survey.split
        self._status.note(1, f"{split.summary()}; test held out")
        folder = self._request.folder
        paths = (file.path for file in folder.files)
        for line in (*split.warnings(), *sample_warnings(folder.root, paths, self._recipe.bit_depth)):
            self._progress.warn(line)
        if 0 < (count := split.counts().get("val", 0)) < _MIN_VAL_IMAGES:
            self._progress.warn(f"only {counted(count, 'validation image')}: model selection is unreliable")
        split.write(self._run.split)

    def _selected_before(self) -> TrainingResult | None:
        """Return the model that an earlier command selected, before it used test."""
        state = self._status.state
        run = self._status.step_run(state.winner)
        if not state.winner or not run.is_complete(with_model=True, with_features=False):
            return None
        self._status.note(5, f"{state.winner} was selected by an earlier command")
        return TrainingResult(run, run.read_metrics(), (), state.val_note)

    def _write_report(self, result: TrainingResult) -> TrainingResult:
        with self._progress.track("writing the report", None):
            report(FinishedRun.read(self._run.path), progress=self._request.steps_only().progress)
        self._status.save()
        self._status.note(7, f"report: {self._run.report}; total time {self._status.seconds_spent():.0f} s")
        return result

    @cached_property
    def _survey(self) -> Survey:
        """The split of all images; without a validation set, one is held out from the training images."""
        recipe = recipe_of(self._recipe, FinetuneRecipe, {}).resolved(self._request.folder.task)
        return with_val(self._request, recipe, survey(self._request.silent(), recipe, decodes=False))


__all__ = ["auto"]
