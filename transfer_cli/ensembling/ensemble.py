"""Combine finished runs into one model, and compare it with its members."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.leakage import load_leaks
from transfer_cli.bundle.bundle import ENSEMBLE, EnsembleMember, ModelBundle, folder_of
from transfer_cli.bundle.files import LINEAR_FILE, TRAINING_IMAGES_FILE
from transfer_cli.bundle.manifest import FORMAT_VERSION
from transfer_cli.bundle.model_card import ModelCard
from transfer_cli.calibration.fit import PartProbabilities, ValFit
from transfer_cli.calibration.rejection import Rejection
from transfer_cli.calibration.temperature import apply_temperature, fit_temperature
from transfer_cli.calibration.thresholds import fit_thresholds
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.ensemble_methods import EnsembleMethodSpec
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.skipped import read_skipped, write_skipped
from transfer_cli.ensembling import fit_combination, soup
from transfer_cli.ensembling.fit_combination import FittedCombination
from transfer_cli.ensembling.member_comparison import MemberComparison
from transfer_cli.ensembling.members import MemberPredictions, Members
from transfer_cli.ensembling.request import EnsembleRequest
from transfer_cli.errors import InputError
from transfer_cli.features import table
from transfer_cli.inference.latency import MemberCosts
from transfer_cli.inference.load import load_members, rejection_member
from transfer_cli.io.atomic import check_writable_folder
from transfer_cli.metrics.scores import Metrics
from transfer_cli.recipe.ensemble import EnsembleRecipe, MemberRun
from transfer_cli.runs.accuracy_gate import check_accuracy
from transfer_cli.runs.request import TrainingResult
from transfer_cli.runs.score_limits import LEAKAGE_EVENT, mending_command
from transfer_cli.runs.scoring import score_parts, thresholds_note
from transfer_cli.runs.selection_tables import classes_of_recipes, copy_tables


def ensemble(request: EnsembleRequest, recipe: EnsembleRecipe) -> TrainingResult:
    """Combine finished runs into one model, and evaluate it on the test set that all of them held out.

    The predictions of the members are read from their runs: no network is trained, and no image is read, except for a
    soup. Weights, temperature and thresholds are fitted on val (or on out-of-fold predictions), which no member was
    trained on; the metrics on val are then cross-validated. Test is used once, at the end.

    Raises
    ------
    InputError
        When the runs are not compatible, or the method cannot be used for them.
    RunError
        When a member is not a finished run, or the run directory holds another run.
    ModelError
        When a member has no model, or a damaged one.

    References
    ----------
    R. Caruana et al. (2004), "Ensemble Selection from Libraries of Models" (greedy).
    D. H. Wolpert (1992), "Stacked Generalization" (stack).
    M. Wortsman et al. (2022), "Model soups" (soup).
    """
    _check_separate_folders(request)
    run, members = request.run, Members.read(request.member_paths)
    default = ensemble_methods.WEIGHTED if members.has_held_out_predictions else ensemble_methods.AVERAGE
    spec = ensemble_methods.find(recipe.ensemble.method or default)
    _check_method(spec, members)
    runs = zip(members.names, members.bundles, strict=True)
    member = tuple(MemberRun(run=name, digest=opened.bundle.digest) for name, opened in runs)
    options = recipe.ensemble.model_copy(update={"method": spec.name})
    classes = classes_of_recipes(each.recipe for each in members.runs)
    recipe = recipe.model_copy(update={"ensemble": options, "member": member, "classes": classes})
    source, note = members.runs[0].source, _val_note(members, spec)
    if run.is_complete(with_model=True, with_features=False) and not request.overwrite:
        run.check_matches(recipe, source, request.command)
        metrics = run.read_metrics()
        check_accuracy(request, metrics, note, was_complete=True)
        return TrainingResult(run, metrics, read_skipped(run.skipped), note, was_complete=True)
    run.check_free(recipe, source, command=request.command, overwrite=request.overwrite)
    check_writable_folder(run.path)
    with run.releasing_lock():
        if spec.single_network:
            return soup.soup(request, members, recipe, note)
        run.claim(recipe, source, command=request.command, overwrite=request.overwrite)
        run.write_images(members.runs[0].images_elsewhere)
        copy_tables(members.runs[0].directory, run)
        return _EnsembleBuilder(request, members, recipe, note).build(spec)


def _check_separate_folders(request: EnsembleRequest) -> None:
    """Raise InputError if the run to write is a member or contains one, or is inside of one; bags may be inside."""
    place = request.run.path.resolve()
    for path in request.member_paths:
        member = path.resolve()
        contains = place in member.parents and member.parent != request.run.bags.resolve()
        if member == place or contains or member in place.parents:
            raise InputError(
                f"Cannot write the ensemble to {request.run.path}: its member {path} would be overwritten.",
                hint="Choose another folder with -o RUN. If you typed the members as runs/*, list them by name.",
            )


def _check_method(spec: EnsembleMethodSpec, members: Members) -> None:
    if members.split.task != SINGLE_LABEL and not spec.multi_label:
        usable = ", ".join(name for name in ensemble_methods.names() if ensemble_methods.find(name).multi_label)
        raise InputError(
            f"--method {spec.name} needs exactly one class per image; these runs are multi-label. Expected {usable}."
        )
    if not spec.fitted or members.has_held_out_predictions:
        return
    if members.are_bags:
        reason = "each bag left out different images"
    else:
        without = [name for name, each in zip(members.names, members.runs, strict=True) if "val" not in each.parts]
        reason = f"{', '.join(without)} has neither a validation set nor out-of-fold predictions"
    raise InputError(
        f"--method {spec.name} is fitted on images that no member was trained on, but {reason}.",
        hint=f"Use --method {ensemble_methods.AVERAGE}, or train the members with --set split.val=0.2",
    )


def _val_note(members: Members, spec: EnsembleMethodSpec) -> str:
    if spec.single_network:
        return soup.val_note(members)
    held_out = "out-of-bag" if members.are_bags else "out-of-fold"
    predictions = "" if "val" in members.split.counts() else held_out
    fitted = f"{spec.name} cross-validated on it" if spec.fitted else ""
    return ", ".join(filter(None, [predictions, fitted, thresholds_note(members.split)]))


class _EnsembleBuilder:
    """Builds the run of one ensemble from its members."""

    def __init__(self, request: EnsembleRequest, members: Members, recipe: EnsembleRecipe, note: str) -> None:
        self._request, self._members, self._recipe, self._val_note = request, members, recipe, note
        self._run, self._progress = request.run, request.progress
        self._skipped = read_skipped(members.runs[0].directory.skipped)

    def build(self, spec: EnsembleMethodSpec) -> TrainingResult:
        run, members, progress = self._run, self._members, self._progress
        run.log("begin", members=list(members.names), combination=spec.name)
        run.write_environment(self._recipe.seed, "CPU")
        with progress.track("measuring the speed of the members", None):
            models = load_members(members.bundles, cache=self._request.cache, progress=progress)
            costs = MemberCosts.measure(models, members.bundles)
        val, combination = members.predictions("val"), fit_combination.fixed(spec.name, len(members.runs))
        if spec.fitted and val is not None:
            combination = fit_combination.fit(
                spec.name, val, self._recipe, lambda some: costs.together(some).milliseconds, progress
            )
        fitted, scored = self._fit_on_val(val, combination)
        run.log("fit", weights=combination.weights, picks=combination.picks, temperature=fitted.temperature)
        test = members.predictions("test")
        if test is not None:
            run.log("test", images=len(test.rows))
            scored["test"] = test.rows, combination(test.probabilities)
        members.split.write(run.split)
        write_skipped(run.skipped, self._skipped)
        metrics = score_parts(run, members.split, fitted.calibrate(scored), fitted.thresholds, self._leaked())
        check_accuracy(self._request, metrics, self._val_note)
        # Before the model is written, so that a failed comparison leaves no model behind.
        cost = costs.together(combination.used)
        comparison = MemberComparison.of(members, combination.weights, costs, run, cost, fitted.thresholds)
        self._write_bundle(combination, fitted, metrics)
        comparison.write(run.members)
        return TrainingResult.complete(run, members.split, metrics, self._skipped, self._val_note)

    def _leaked(self) -> NDArray[np.bool_] | None:
        """Return which rows of the split are test images with a near-duplicate among the training images.

        A member has searched for them, and has the command: of bags for all, else for this member.
        """
        members, part = self._members, "test" if "test" in self._members.split.counts() else "val"
        for member in members.runs:
            if (found := load_leaks(member)) is not None:
                if command := mending_command(member.directory):
                    self._run.log(LEAKAGE_EVENT, command=command)
                across = {row.path for leak in found.across_splits for row in (leak.a, leak.b)}
                return np.array([row.part == part and row.path in across for row in members.split.rows], bool)
        return None

    def _fit_on_val(
        self, val: MemberPredictions | None, combination: FittedCombination
    ) -> tuple[ValFit, dict[str, PartProbabilities]]:
        """Return thresholds, temperature and rejection, and the uncalibrated probabilities on val."""
        multi_label = self._members.split.task != SINGLE_LABEL
        held_out = self._members.out_of_bag() if self._members.are_bags else val
        if held_out is None:
            return ValFit(np.full(len(self._members.split.class_names), 0.5) if multi_label else None), {}
        probabilities = combination.held_out
        if val is None:
            probabilities = fit_combination.combine_available(combination.combination, held_out.probabilities)
        elif probabilities is None:
            probabilities = combination(val.probabilities)
        scored: dict[str, PartProbabilities] = {"val": (held_out.rows, probabilities)}
        if multi_label:
            return ValFit(fit_thresholds(held_out.truth, probabilities)), scored
        temperature = fit_temperature(held_out.truth, probabilities)
        rejection = self._fit_rejection(held_out, combination, apply_temperature(probabilities, temperature))
        return ValFit(None, temperature, rejection), scored

    def _fit_rejection(
        self, val: MemberPredictions, combination: FittedCombination, probabilities: NDArray[np.float32]
    ) -> Rejection | None:
        """Return the detector of out-of-distribution images, which uses the features of one member."""
        members, used = self._members, combination.used
        member = rejection_member([members.bundles[number].bundle for number in used])
        if member is None:
            return None
        run = members.runs[used[member]]
        features, train = table.features_of_run(run), np.flatnonzero(run.split.mask("train"))
        rows, groups = members.rows_in(run, val), members.group_ids_in(run)
        return Rejection.fit(features, train, rows, probabilities, val.truth, self._recipe.seed, groups=groups)

    def _write_bundle(self, combination: FittedCombination, fitted: ValFit, metrics: Metrics) -> None:
        members, run, used = self._members, self._run, combination.used
        if unused := [name for number, name in enumerate(members.names) if number not in used]:
            self._progress.note(f"members left out, as the ensemble is better on val without them: {', '.join(unused)}")
        first = members.bundles[used[0]].bundle
        bundle = ModelBundle(
            format_version=FORMAT_VERSION,
            kind=ENSEMBLE,
            task=members.split.task,
            class_names=members.bundles[0].bundle.class_names,
            thresholds=None if fitted.thresholds is None else tuple(fitted.thresholds.tolist()),
            temperature=fitted.temperature,
            image_size=first.image_size,
            resize=first.resize,
            bit_depth=first.bit_depth,
            decoder=DECODER,
            backbone={},
            combination=combination.combination,
            members=tuple(
                EnsembleMember(name=member.run, digest=member.digest, weight=weight)
                for member, weight in zip(self._recipe.member, combination.weights, strict=True)
                if weight > 0
            ),
            versions=run.versions(),
            recipe=self._recipe.model_dump(mode="json", exclude_none=True),
        )

        def save(directory: Path) -> None:
            copied: dict[str, Path] = {}
            for number, member in enumerate(used, start=1):
                members.bundles[member].copy_to(directory / folder_of(number), copied)
            fitted.save(directory)
            if combination.linear is not None:
                combination.linear.save(directory / LINEAR_FILE)
            members.training_images().save(directory / TRAINING_IMAGES_FILE)
            leaves = [leaf for member in used for leaf in members.bundles[member].leaves()]
            skipped, name, note = len(self._skipped), members.runs[0].root.name, self._val_note
            ModelCard(bundle, members.split, metrics, fitted, name, skipped, note, leaves).write(directory)

        bundle.write(run.model, save)
