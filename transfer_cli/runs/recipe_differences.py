"""The settings in which two runs differ, each named by the option with which it is typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transfer_cli.runs.typed_options import TypedOptions
from transfer_cli.text import counted, format_duration

_TABLES = (("--class-map", "map"), ("--omit", "omit_sha256"))
"""Options whose tables a recipe records, and the setting that tells them apart."""
OPTIONS: Mapping[str, str] = {
    "seed": "--seed",
    "time_budget": "--time-budget",
    # extract and finetune
    "backbone.name": "--backbone",
    "backbone.preprocess": "--preprocess",
    "backbone.weights": "--weights",
    "backbone.pooling": "--pooling",
    "backbone.layer": "--layer",
    "images.bit_depth": "--bit-depth",
    "inference.runtime": "--runtime",
    "classifier.name": "--classifier",
    "classifier.tune": "--tune",
    "split.group_by": "--group-by",
    "hardware.precision": "--precision",
    "unlabelled.folder": "--unlabelled",
    # auto and rank
    "seconds": "--time-budget",
    "among": "--among",
    "download": "--download",
    "group_by": "--group-by",
    "bit_depth": "--bit-depth",
    "weights": "--weights",
    "images": "--max-images",
    "by": "--score",
    "runtime": "--runtime",
    "max_ms": "--max-ms",
    "max_mb": "--max-mb",
    "split": "--split",
    # ensemble
    "ensemble.method": "--method",
    "ensemble.max_models": "--max-models",
    "ensemble.max_ms": "--max-ms",
}
"""Option of each setting that has one; all others are typed as ``--set SETTING=VALUE``."""
_LISTS = {"stage": "stage", "network.block": "block"}
"""Lists of sections, whose lengths are compared first."""
_SECONDS = ("time_budget", "seconds")
_NOT_GIVEN = "not given"


def recipe_differences(
    before: Mapping[Any, Any],
    after: Mapping[Any, Any],
    typed_before: TypedOptions | None = None,
    typed_after: TypedOptions | None = None,
) -> list[str]:
    """Return one phrase per setting that differs between two recipes, as read from TOML.

    Parameters
    ----------
    before, after : mapping
        The recipe of the run that is there, and the one of this command.
    typed_before, typed_after : TypedOptions, optional
        Their commands: values are shown as they were typed. If the commands name different recipes, what these set is
        not listed one by one.
    """
    was_typed, now_typed = typed_before or TypedOptions(), typed_after or TypedOptions()
    if before.get("method") != after["method"]:
        return typed_differences(("--bags",), was_typed, now_typed) or [f"it is a run of {before.get('method')}"]
    tables = [
        _table_difference(option, *(_table(recipe, key) for recipe in (before, after))) for option, key in _TABLES
    ]
    # The classes are those of the folder; the members of a bagging are known when they are trained.
    left_out = {"classes", *([] if after.get("members") else ["members"])}
    before, after = ({key: value for key, value in recipe.items() if key not in left_out} for recipe in (before, after))
    changes = [_Change(key, was, now, was_typed, now_typed) for key, was, now in _changed(before, after)]
    of_recipe = typed_differences(("--recipe",), was_typed, now_typed) if changes else []
    phrases = [change.phrase() for change in changes if change.is_typed or not of_recipe]
    return [*of_recipe, *phrases, *filter(None, tables)]


def _table(recipe: Mapping[Any, Any], key: str) -> Any:
    """Return what a recipe records of a table; None if it was made without it."""
    classes = recipe.get("classes")
    return classes.get(key) if isinstance(classes, dict) else None


def _table_difference(option: str, was: Any, now: Any) -> str:
    if was == now:
        return ""
    if was is None or now is None:
        there, here = ("given" if value is not None else "not given" for value in (was, now))
        return f"{option} is {there} there and {here} here"
    return f"{option} is another table there"


@dataclass(frozen=True)
class ChangedSetting:
    """A setting that differs from its default, with the option by which it is typed.

    Attributes
    ----------
    key : str
        Its name in a recipe, such as ``stage.1.epochs``.
    option : str
        Such as ``--seed`` or ``--set batch_size``.
    value, default : str
        As they are typed.
    """

    key: str
    option: str
    value: str
    default: str


def changed_settings(
    defaults: Mapping[Any, Any], recipe: Mapping[Any, Any], typed: TypedOptions
) -> list[ChangedSetting]:
    """Return the settings of a recipe that differ from the defaults; `typed` is its command.

    A setting that is not in the recipe is not set, or did not exist when it was written.
    """
    changed = ((key, was, now) for key, was, now in _changed(defaults, recipe) if now is not None)
    changes = [_Change(key, was, now, TypedOptions(), typed) for key, was, now in changed]
    return [ChangedSetting(change.key, change.option, *reversed(change.values)) for change in changes]


def typed_differences(options: Sequence[str], before: TypedOptions, after: TypedOptions) -> list[str]:
    """Return one phrase per option that two commands give different values; none if a command was not typed."""
    if not before.words or not after.words:
        return []
    values = [(option, before.value(option), after.value(option)) for option in options]
    return [
        f"{option} is {was or _NOT_GIVEN} there and {now or _NOT_GIVEN} here"
        for option, was, now in values
        if was != now
    ]


class _Change:
    """A setting with its two values."""

    def __init__(self, key: str, was: Any, now: Any, typed_before: TypedOptions, typed_after: TypedOptions) -> None:
        self.key, self._raw, self._typed = key, (was, now), (typed_before, typed_after)
        # An option is named as its setting unless the table above says otherwise.
        guess = f"--{key.rpartition('.')[2].replace('_', '-')}"
        self._own_option = OPTIONS.get(key) or (guess if any(typed.has(guess) for typed in self._typed) else "")

    @property
    def option(self) -> str:
        """The option by which it is typed."""
        return self._own_option or f"--set {self.key}"

    @property
    def values(self) -> tuple[str, ...]:
        """Both values as they are typed."""
        if self.key in _LISTS:
            return tuple(counted(len(items or ()), _LISTS[self.key]) for items in self._raw)
        return tuple(self._shown(value, typed) for value, typed in zip(self._raw, self._typed, strict=True))

    @property
    def is_typed(self) -> bool:
        """Whether one of the commands gives it, not only a recipe."""
        typed = ((each.has(self._own_option) if self._own_option else False) for each in self._typed)
        return any(typed) or any(each.has("--set", self.key) for each in self._typed)

    def phrase(self) -> str:
        if self.key == "member":
            return _members_phrase(*self._raw)
        was, now = self.values
        verb = "the recipe has" if self.key in _LISTS else f"{self.option} is"
        return f"{verb} {was} there and {now} here"

    def _shown(self, value: Any, typed: TypedOptions) -> str:
        if self._own_option and (word := typed.value(self._own_option)) is not None:
            return word
        if isinstance(value, bool):
            return ("off", "on")[value] if self._own_option else str(value).lower()
        if value is None or value in ([], ()):
            return _NOT_GIVEN
        if isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return format_duration(value) if self.key in _SECONDS else str(value)


def _changed(before: Mapping[Any, Any], after: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(before.keys() | after.keys(), key=str):
        was: Any = before.get(key)
        now: Any = after.get(key)
        if key != "member" and _are_sections(was) and _are_sections(now) and len(was) == len(now):
            was, now = (dict(enumerate(items, start=1)) for items in (was, now))
        if isinstance(was, dict) or isinstance(now, dict):
            yield from _changed(_section(was), _section(now), f"{prefix}{key}.")
        elif was != now:
            yield f"{prefix}{key}", was, now


def _are_sections(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _section(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _members_phrase(before: Any, after: Any) -> str:
    """Return in what the members of two ensembles differ: which they are, or which were trained again."""
    was, now = ([str(member.get("run")) for member in members or ()] for members in (before, after))
    if was != now:
        return f"the members are {', '.join(was)} there and {', '.join(now)} here"
    again = [old.get("run") for old, new in zip(before, after, strict=True) if old != new]
    return f"{', '.join(map(str, again))} {'was' if len(again) == 1 else 'were'} trained again since"
