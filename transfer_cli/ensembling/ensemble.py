"""Several finished runs become one model, and a person sees whether that was worth it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle import model_card
from transfer_cli.bundle.bundle import ENSEMBLE, FORMAT_VERSION, Member, ModelBundle, folder_of
from transfer_cli.bundle.files import LINEAR_FILE
from transfer_cli.bundle.training_images import LEARNT_FILE
from transfer_cli.calibration.fit import Scored, ValFit
from transfer_cli.calibration.rejection import Rejection
from transfer_cli.calibration.temperature import apply_temperature, fit_temperature
from transfer_cli.calibration.thresholds import fit_thresholds
from transfer_cli.catalog import ensemble_methods
from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.decoding import DECODER
from transfer_cli.data.skipped import read_skipped, write_skipped
from transfer_cli.ensembling import fit_combination
from transfer_cli.ensembling.fit_combination import FittedCombination, Limits
from transfer_cli.ensembling.member_comparison import Joint, MemberComparison
from transfer_cli.ensembling.members import Members, Part
from transfer_cli.ensembling.request import EnsembleRequest, Options, learnt_of
from transfer_cli.errors import InputError
from transfer_cli.features import table
from transfer_cli.inference.latency import Costs
from transfer_cli.inference.load import judge_of, load_members
from transfer_cli.io.atomic import write_json
from transfer_cli.metrics.scores import Metrics
from transfer_cli.recipe.ensemble import EnsembleRecipe, MemberRun
from transfer_cli.runs.request import TrainingResult, is_uneven
from transfer_cli.runs.run_directory import RunDirectory
from transfer_cli.runs.scoring import score_parts, thresholds_note
from transfer_cli.training.setup import lifecycle


def ensemble(
    runs: Sequence[Path], recipe: EnsembleRecipe, run: RunDirectory, **options: Unpack[Options]
) -> TrainingResult:
    """Join finished runs into one model, and score it on the pictures that all of them held out.

    No picture is read and no network trained: what the members said of val and test lies in their runs. What is fitted
    is fitted on val (or on out-of-fold answers), of which no member had learnt when it said them; the figures of val
    are then those of folds. The test part is read once, at the end.

    Parameters
    ----------
    runs : sequence of Path
        Two or more, on the same classes and the same parts.
    recipe : EnsembleRecipe
    run : RunDirectory
        Where everything is written. A complete run of the same members and choices is returned as it is.
    **options
        See `Options`.

    Raises
    ------
    InputError
        When the runs do not fit each other, or the way to combine them does not fit what is there.
    RunError
        When one is no finished run, or the run directory holds another run.
    ModelError
        When one has no model, or it is damaged.
    """
    request = EnsembleRequest(run, **options)
    _must_lie_apart(run, runs)
    members = Members.read(runs)
    usual = ensemble_methods.WEIGHTED if members.has_held_out else ensemble_methods.AVERAGE
    spec = ensemble_methods.find(recipe.ensemble.method or usual)
    if members.split.task != SINGLE_LABEL and not spec.several_labels:
        several = ", ".join(name for name in ensemble_methods.names() if ensemble_methods.find(name).several_labels)
        raise InputError(
            f"{spec.name} is for one class a picture; here a picture has several labels. Expected {several}."
        )
    if spec.fitted and members.are_bags:
        raise InputError(
            f"{spec.name} is fitted on pictures that no member has learnt from, and each of these bags left out other "
            "ones.",
            hint=f"Take --method {ensemble_methods.AVERAGE}, or train them with --set split.val=0.2",
        )
    if spec.fitted and not members.has_held_out:
        without = ", ".join(
            name for name, each in zip(members.names, members.runs, strict=True) if "val" not in each.parts
        )
        raise InputError(
            f"{spec.name} is fitted on pictures that no member has learnt from, and there are none: {without} has no "
            "val part and no out-of-fold answers.",
            hint=f"Take --method {ensemble_methods.AVERAGE}, or train with --set split.val=0.2",
        )
    resolved = recipe.model_copy(
        update={
            "ensemble": recipe.ensemble.model_copy(update={"method": spec.name}),
            "member": tuple(
                MemberRun(run=name, digest=opened.bundle.digest)
                for name, opened in zip(members.names, members.bundles, strict=True)
            ),
        }
    )
    source = members.runs[0].source
    if run.is_complete(with_model=True, with_features=False) and not request.overwrite:
        run.must_match(resolved, source)
        note, metrics = _val_note(members, spec), run.read_metrics()
        lifecycle.must_still_be_good_enough(request, metrics, note)
        return TrainingResult(run, metrics, read_skipped(run.skipped), note, was_complete=True)
    run.must_be_free(resolved, source, overwrite=request.overwrite)
    with run.released():
        if spec.one_network:
            from transfer_cli.ensembling.soup import soup

            return soup(members, resolved, run, source, request)
        run.begin(resolved, source, command=request.command, overwrite=request.overwrite)
        return _EnsembleBuilder(request, members, resolved, spec).make()


def _must_lie_apart(run: RunDirectory, runs: Sequence[Path]) -> None:
    """Raise InputError where the run to be written is a member, or one lies in the other; bags lie where they may."""
    place = run.path.resolve()
    for path in runs:
        member = path.resolve()
        inside = place in member.parents and member.parent != run.bags.resolve()
        if member == place or inside or member in place.parents:
            raise InputError(
                f"The ensemble would be written to {run.path}, and {path} is a member of it: one would destroy the "
                "other.",
                hint="Choose another place with -o RUN; where the members were typed as runs/*, name them.",
            )


def _joint(members: Members, val: Part | None, test: Part | None, scored: Mapping[str, Scored]) -> Joint | None:
    """Return what the ensemble said of test, of val where there is no test; None where members were not all asked."""
    for part, about in (("test", test), ("val", val)):
        if about is not None and part in scored:
            return Joint(part, about, scored[part][1])
    return None


def _val_note(members: Members, spec: ensemble_methods.CombinerSpec) -> str:
    if spec.one_network:
        from transfer_cli.ensembling.soup import val_note

        return val_note(members)
    held_out = "out-of-bag" if members.are_bags else "out-of-fold"
    out_of_fold = "" if "val" in members.split.counts() else held_out
    fitted = f"{spec.name} in folds of it" if spec.fitted else ""
    return ", ".join(filter(None, [out_of_fold, fitted, thresholds_note(members.split)]))


class _EnsembleBuilder:
    """One ensemble on its way from its members to a run."""

    def __init__(
        self, request: EnsembleRequest, members: Members, recipe: EnsembleRecipe, spec: ensemble_methods.CombinerSpec
    ) -> None:
        self._request, self._members, self._recipe, self._spec = request, members, recipe, spec
        self._run, self._progress = request.run, request.progress

    def make(self) -> TrainingResult:
        run, members, request = self._run, self._members, self._request
        run.log("begin", members=list(members.names), combination=self._spec.name)
        run.write_environment(self._recipe.seed, "CPU")
        with self._progress.track("measuring what the members cost", None):
            models = load_members(members.bundles, cache=self._request.cache, progress=self._progress)
            costs = Costs(models, members.bundles)
        val = members.part("val")
        joined = self._joined(val, costs)
        fitted, scored = self._fitted_on(val, joined)
        run.log("fit", weights=joined.weights, picks=joined.picks, temperature=fitted.temperature)
        test = members.part("test")
        if test is not None:
            run.log("test", images=len(test.rows))
            scored["test"] = test.rows, joined(test.given)
        members.split.write(run.split)
        skipped = read_skipped(members.runs[0].directory.skipped)
        write_skipped(run.skipped, skipped)
        metrics = score_parts(run, members.split, fitted.calibrated(scored), fitted.thresholds)
        lifecycle.must_be_good_enough(request, metrics, _val_note(members, self._spec))
        # Before the model, so that what cannot be compared leaves none behind.
        company = MemberComparison.of(
            members, joined, costs, _joint(members, val, test, fitted.calibrated(scored)), thresholds=fitted.thresholds
        )
        self._write_bundle(joined, fitted, metrics)
        write_json(run.members, company.to_dict())
        write_json(run.metrics, metrics)
        run.log("end", metrics=metrics)
        note = _val_note(members, self._spec)
        return TrainingResult(run, metrics, skipped, note, is_uneven=is_uneven(members.split))

    def _joined(self, val: Part | None, costs: Costs) -> FittedCombination:
        if not self._spec.fitted or val is None:
            return fit_combination.fixed(self._spec.name, len(self._members.runs))
        words = self._recipe.ensemble
        return fit_combination.fit(
            self._spec.name,
            val.given,
            val.truth,
            val.assign_group_ids,
            seed=self._recipe.seed,
            limits=Limits(words.max_models, words.max_ms),
            cost_of=lambda chosen: costs.together(chosen).milliseconds,
            progress=self._progress,
        )

    def _fitted_on(self, val: Part | None, joined: FittedCombination) -> tuple[ValFit, dict[str, Scored]]:
        """Return what val says of how sure the ensemble should be, and its answers about val."""
        several = self._members.split.task != SINGLE_LABEL
        part = self._members.out_of_bag() if self._members.are_bags else val
        if part is None:
            halves = np.full(len(self._members.split.class_names), 0.5)
            return ValFit(halves if several else None), {}
        if val is None:
            answers = fit_combination.of_those_who_know(joined.combination, part.given)
        else:
            answers = joined(val.given) if joined.held_out is None else joined.held_out
        val = part
        scored: dict[str, Scored] = {"val": (val.rows, answers)}
        if several:
            return ValFit(fit_thresholds(val.truth, answers)), scored
        temperature = fit_temperature(val.truth, answers)
        return ValFit(None, temperature, self._rejection(val, joined, apply_temperature(answers, temperature))), scored

    def _rejection(self, val: Part, joined: FittedCombination, answers: NDArray[np.float32]) -> Rejection | None:
        """Return what tells whether the ensemble can judge a picture, by the features of one of its members."""
        kept = [number for number, weight in enumerate(joined.weights) if weight > 0]
        judge = judge_of([self._members.bundles[number].bundle for number in kept])
        if judge is None:
            return None
        run = self._members.runs[kept[judge]]
        return Rejection.fit(
            table.of_run(run),
            np.flatnonzero(run.split.mask("train")),
            self._members.places(run, val),
            answers,
            val.truth,
            self._recipe.seed,
            groups=self._members.kin_of(run),
        )

    def _write_bundle(self, joined: FittedCombination, fitted: ValFit, metrics: Metrics) -> None:
        members, run = self._members, self._run
        first = members.bundles[0].bundle
        # What a greedy selection left out is not carried along.
        kept = [number for number, weight in enumerate(joined.weights) if weight > 0]
        if len(kept) < len(members.runs):
            left = [name for number, name in enumerate(members.names) if number not in kept]
            self._progress.note(f"left out, since val is better without: {', '.join(left)}")
        bundle = ModelBundle(
            format_version=FORMAT_VERSION,
            kind=ENSEMBLE,
            task=members.split.task,
            class_names=first.class_names,
            thresholds=None if fitted.thresholds is None else tuple(fitted.thresholds.tolist()),
            temperature=fitted.temperature,
            image_size=members.bundles[kept[0]].bundle.image_size,
            resize=members.bundles[kept[0]].bundle.resize,
            decoder=DECODER,
            backbone={},
            combination=joined.combination,
            members=tuple(
                Member(name=members.names[number], digest=members.bundles[number].bundle.digest, weight=weight)
                for number, weight in enumerate(joined.weights)
                if weight > 0
            ),
            versions=run.versions(),
            recipe=self._recipe.model_dump(mode="json", exclude_none=True),
        )

        def save(directory: Path) -> None:
            known: dict[str, Path] = {}
            for number, member in enumerate(kept, start=1):
                members.bundles[member].copy_to(directory / folder_of(number), known)
            fitted.save(directory)
            if joined.linear is not None:
                joined.linear.save(directory / LINEAR_FILE)
            learnt_of(members).save(directory / LEARNT_FILE)
            model_card.write(
                directory,
                bundle,
                members.split,
                metrics,
                fitted,
                name=members.runs[0].root.name,
                skipped=len(read_skipped(run.skipped)),
                val_note=_val_note(members, self._spec),
                members=[leaf for member in kept for leaf in members.bundles[member].leaves()],
            )

        bundle.write(run.model, save)
