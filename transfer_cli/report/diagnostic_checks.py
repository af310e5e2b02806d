"""What can be seen in a run that went wrong: a function looks at one thing, and says what it saw or nothing."""

from __future__ import annotations

import math

import numpy as np

from transfer_cli.metrics.scores import UNEVEN
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.text import counted


def _of(share: float) -> str:
    return f"{100 * share:.0f} %"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def one_class(case: RunFacts) -> str | None:
    """Say that every picture of a part was given the same class."""
    for part, scored in case.scored.items():
        if scored.confusion is not None and (scored.given > 0).sum() == 1 and (scored.support > 0).sum() > 1:
            name = case.class_names[int(scored.given.argmax())]
            return (
                f"Every picture of {part} was said to be {name}. The accuracy, {_of(scored.accuracy)}, is the share of "
                f"{name} among the pictures: nothing is told apart."
            )
    return None


def no_better_than_the_largest(case: RunFacts) -> str | None:
    """Say that it is no better than naming the largest class."""
    if not case.judged or one_class(case):
        return None
    part, scored = case.judged
    if scored.confusion is None or (scored.support > 0).sum() < 2:
        return None
    largest = scored.support.max() / scored.images
    if scored.low > largest:
        return None
    return (
        f"On {part} {_of(scored.accuracy)} were right (95 % interval {_of(scored.low)} to {_of(scored.high)}); saying "
        f"{case.class_names[int(scored.support.argmax())]} to every picture would be right {_of(largest)} of the time."
    )


def random_weights(case: RunFacts) -> str | None:
    """Say that the network was never pretrained."""
    if case.from_scratch or case.word("backbone.weights") != "none":
        return None
    return f"The network {case.word('backbone.name', '')} began with random weights (--weights none)."


def overfitting(case: RunFacts) -> str | None:
    """Say that train is far above val."""
    val = case.scored.get("val")
    if case.best_train is None or val is None or val.confusion is None or case.best_train - val.accuracy < 0.15:
        return None
    return (
        f"Of the pictures it learnt from, {_of(case.best_train)} were right in the epoch that was kept; of those of "
        f"val {_of(val.accuracy)}."
    )


def test_below_val(case: RunFacts) -> str | None:
    """Say that test lies below val, intervals apart."""
    val, test = case.scored.get("val"), case.scored.get("test")
    if not val or not test or test.high >= val.low:
        return None
    return f"On test {_of(test.accuracy)} were right, on val {_of(val.accuracy)}: more apart than chance explains."


def few_test_pictures(case: RunFacts) -> str | None:
    """Say that the interval of the test is wider than ten points."""
    test = case.scored.get("test")
    if not test or test.high - test.low <= 0.10:
        return None
    share = min(max(test.accuracy, 0.05), 0.95)
    wanted = math.ceil(3.84 * share * (1 - share) / 0.05**2)
    return (
        f"The test part has {counted(test.images, 'picture')}, so that the accuracy is known to lie between "
        f"{_of(test.low)} and {_of(test.high)} only. About {wanted} would bring that to ten points."
    )


def no_test(case: RunFacts) -> str | None:
    """Say that there is no test part."""
    return None if "test" in case.scored else "No picture was kept for the test."


def never_found(case: RunFacts) -> str | None:
    """Say that a class has recall 0."""
    if not case.judged or one_class(case):
        return None
    part, scored = case.judged
    lost = [
        f"{name} (0 of {count})"
        for name, count, right in zip(case.class_names, scored.support, scored.right, strict=True)
        if count >= 3 and right == 0
    ]
    return f"On {part} nothing was found of {_listed(lost)}." if lost else None


def below_chance(case: RunFacts) -> str | None:
    """Say that a class is found no more often than it is said."""
    if not case.judged or case.judged[1].confusion is None:
        return None
    part, scored = case.judged
    chance = scored.given / max(scored.images, 1)
    weak = [
        f"{name} ({_of(recall)} found, {_of(luck)} by chance)"
        for name, recall, luck, count in zip(case.class_names, scored.recall, chance, scored.support, strict=True)
        if count >= 5 and 0 < recall <= luck
    ]
    return f"On {part} it does no better than blind guessing at {_listed(weak)}." if weak else None


def missing_class(case: RunFacts) -> str | None:
    """Say that a part lacks a class."""
    for part in ("train", "test", "val"):
        counts = case.images.get(part)
        if counts is None or not counts.sum():
            continue
        missing = [name for name, count in zip(case.class_names, counts, strict=True) if not count]
        if missing:
            return f"The {part} part has no picture of {_listed(missing)}."
    return None


def unequal(case: RunFacts) -> str | None:
    """Say that classes are unequal and nothing evens them out."""
    counts = case.images["train"]
    some = counts[counts > 0]
    if case.word("balance.method", "none") != "none" or len(some) < 2 or some.max() < UNEVEN * some.min():
        return None
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max() + 1).argmin())
    return (
        f"To learn from there are {counted(int(counts[most]), 'picture')} of {case.class_names[most]} and "
        f"{counts[least]} of {case.class_names[least]}, and nothing evens that out."
    )


def few_to_learn_from(case: RunFacts) -> str | None:
    """Say that a class has fewer than ten train pictures."""
    counts = case.images["train"]
    few = [f"{name} ({count})" for name, count in zip(case.class_names, counts, strict=True) if 0 < count < 10]
    return f"There are fewer than ten pictures to learn from of {_listed(few)}." if few else None


def duplicates(case: RunFacts) -> str | None:
    """Say that files occur in train and outside it."""
    if not case.duplicates:
        return None
    return f"Also in train, the same to the byte: {counted(case.duplicates, 'picture')} of val or test."


def near_duplicates(case: RunFacts) -> str | None:
    """Say that pictures in train and outside it are nearly the same."""
    if not case.near_duplicates:
        return None
    return f"Nearly the same as one of train: {counted(case.near_duplicates, 'picture')} of val or test."


def two_classes(case: RunFacts) -> str | None:
    """Say that one picture is in two classes."""
    if not case.two_classes:
        return None
    pairs = "pair of pictures is" if case.two_classes == 1 else "pairs of pictures are"
    return f"{case.two_classes} {pairs} one picture that is in two classes."


def too_good(case: RunFacts) -> str | None:
    """Say that all of a test of some size were right."""
    test = case.scored.get("test")
    if not test or test.images < 50 or test.accuracy < 1:
        return None
    return f"All {test.images} pictures of test were right."


def badly_calibrated(case: RunFacts) -> str | None:
    """Say that probabilities and shares of right answers lie apart."""
    if not case.judged or case.judged[1].calibration_error is None or not case.judged[1].images:
        return None
    part, scored = case.judged
    assert scored.calibration_error is not None
    # A perfect classifier has an error, too: by chance, about 0.06 on 372 pictures.
    if scored.calibration_error < 0.05 + 1.16 / math.sqrt(scored.images):
        return None
    which = "surer than it should be" if scored.confidence > scored.accuracy else "less sure than it could be"
    return (
        f"On {part} what it says with a probability and how often that is right lie "
        f"{100 * scored.calibration_error:.0f} points apart on the mean: it is {which}."
    )


def worse_than_shares(case: RunFacts) -> str | None:
    """Say that the log loss is above the entropy of the classes."""
    if not case.judged or case.judged[1].confusion is None:
        return None
    part, scored = case.judged
    shares = scored.support[scored.support > 0] / max(scored.images, 1)
    ignorant = float(-(shares * np.log(shares)).sum())
    if len(shares) < 2 or scored.log_loss <= ignorant:
        return None
    knows = f"who only knows how frequent each class is has {ignorant:.2f}"
    return f"On {part} the log loss is {scored.log_loss:.2f}; {knows}."


def certain_mistakes(case: RunFacts) -> str | None:
    """Say that there are mistakes it was sure of."""
    for part, scored in case.scored.items():
        if scored.confusion is not None and scored.certain_mistakes >= max(3, 0.01 * scored.images):
            return f"{scored.certain_mistakes} pictures of {part} were said with 95 % or more to be of another class."
    return None


def unreadable(case: RunFacts) -> str | None:
    """Say that more than one file in fifty could not be read."""
    everything = case.skipped + sum(int(counts.sum()) for counts in case.images.values())
    if not case.skipped or case.skipped < 0.02 * everything:
        return None
    return f"{case.skipped} of {everything} files could not be read ({_of(case.skipped / everything)})."


def gone(case: RunFacts) -> str | None:
    """Say that pictures of the report are not there any more."""
    if not case.gone:
        return None
    return f"{case.gone} of the pictures that this report shows are not in {case.folder} any more."


def tiny(case: RunFacts) -> str | None:
    """Say that pictures are smaller than half of what the network looks at."""
    sides = case.short_sides
    if not len(sides) or np.median(sides) >= case.image_size / 2:
        return None
    return (
        f"The shorter side of the pictures is {int(np.median(sides))} pixels on the median; the network looks at "
        f"{case.image_size}, so that they are blown up."
    )


def last_is_best(case: RunFacts) -> str | None:
    """Say that the last epoch was the best."""
    if case.best is None or case.last is None or case.best < case.last or case.best < 2 or case.stopped_early:
        return None
    return f"The last epoch, {case.last}, was the best: it was still getting better when it ended."


def probe_won(case: RunFacts) -> str | None:
    """Say that no epoch beat the classifier on the frozen network."""
    if case.best != 0 or not case.last:
        return None
    return f"None of {counted(case.last, 'epoch')} was better on val than the classifier on the unchanged network."


def budget_used_up(case: RunFacts) -> str | None:
    """Say that the time budget ended the training."""
    return "The training ended because its time budget was used up." if case.budget_used_up else None


def small_val(case: RunFacts) -> str | None:
    """Say that the best epoch was chosen on few pictures."""
    val = case.scored.get("val")
    if case.method != "finetune" or val is None or val.images >= 50:
        return None
    return f"The epoch that was kept was chosen on {counted(val.images, 'picture')} of val."


def halved(case: RunFacts) -> str | None:
    """Say that weights ran away."""
    if not case.halved:
        return None
    return f"The weights ran away {case.halved} time{'s' * (case.halved > 1)}, and the learning rate was halved for it."


def alike(case: RunFacts) -> str | None:
    """Say that two classes are taken for each other."""
    if not case.judged or (confusion := case.judged[1].confusion) is None:
        return None
    part, scored = case.judged
    share = confusion / np.maximum(scored.support, 1)[:, None]
    both = np.triu(np.minimum(share, share.T) * ((confusion >= 2) & (confusion.T >= 2)), 1)
    if both.max(initial=0) < 0.10:
        return None
    one, other = (int(place) for place in np.unravel_index(both.argmax(), both.shape))
    first, second = case.class_names[one], case.class_names[other]
    return (
        f"On {part} {first} and {second} are taken for each other: {confusion[one, other]} of "
        f"{scored.support[one]} {first} are said to be {second}, {confusion[other, one]} of "
        f"{scored.support[other]} the other way round."
    )


def swallowed(case: RunFacts) -> str | None:
    """Say that a quarter or more of a class is taken for one other."""
    if not case.judged or (confusion := case.judged[1].confusion) is None or one_class(case):
        return None
    part, scored = case.judged
    share = confusion / np.maximum(scored.support, 1)[:, None] * (scored.support >= 5)[:, None]
    np.fill_diagonal(share, 0)
    if share.max(initial=0) < 0.25:
        return None
    one, other = (int(place) for place in np.unravel_index(share.argmax(), share.shape))
    return (
        f"On {part} {confusion[one, other]} of {scored.support[one]} {case.class_names[one]} "
        f"({_of(share[one, other])}) are taken for {case.class_names[other]}."
    )
