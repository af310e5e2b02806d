"""Explain a setting that a recipe does not have: what it is called, or where it belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from transfer_cli.errors import nearest
from transfer_cli.recipe.other_names import LAST_STAGE, WORDS, name_of, reason_for

Model = type[BaseModel]
Location = tuple[int | str, ...]
_STAGE = "stage"


def section_of(kind: Any, *, lists: bool = False) -> Model | None:
    """Return the section that a field holds, which may be optional; with `lists` also that of each item of a list."""
    if get_origin(kind) is tuple and not lists:
        return None
    kinds = [kind, *get_args(kind)]
    return next((each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)), None)


def settings_of(model: Model, location: Location = ()) -> list[str]:
    """Return the settings of the section at `location`, a path as pydantic reports it."""
    inside: Any = model
    for step in location:
        inside = inside.model_fields[step].annotation if isinstance(step, str) else get_args(inside)[0]
        inside = section_of(inside) or inside
    return list(inside.model_fields)


def all_settings(model: Model) -> Iterator[str]:
    """Yield the full names of all settings, such as ``seed``, ``stage.last.epochs`` and ``network.block.1.pool``."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation, lists=True)
        prefix = LAST_STAGE if name == _STAGE else name
        if section is None:
            yield name
        elif name == "network":
            yield from (f"{prefix}.{setting}".replace("block.", "block.1.") for setting in all_settings(section))
        else:
            yield from (f"{prefix}.{setting}" for setting in section.model_fields)


@dataclass(frozen=True)
class Vocabulary:
    """The settings that a recipe can have.

    Attributes
    ----------
    model : type
        The recipe.
    others : mapping of str to type
        The recipes of the other commands, by command.
    stages : int
        Number of stages of the recipe.
    """

    model: Model
    others: Mapping[str, Model]
    stages: int = 1

    def explain(self, location: Location, value: Any, *, in_file: bool = False) -> str:
        """Return that a setting is unknown and what to write instead.

        Parameters
        ----------
        location : tuple
            Its sections and its name as pydantic reports them.
        value : object
            Its value; a mapping if it is a section, of which each setting is explained.
        in_file : bool
            Whether it is written in a TOML file; otherwise it comes from ``--set``.
        """
        *section, word = location
        own = settings_of(self.model, tuple(section))
        expected = f"Expected one of {', '.join(own)}."
        for command, other in self.others.items():
            if not section and str(word) in other.model_fields:
                return f"unknown setting. {expected} {word} belongs to a recipe for {command}."
        if not section and isinstance(value, dict) and value:
            return self._explain_section(str(word), value, in_file=in_file)
        answer = self._answer(str(word), tuple(map(str, section[:1])), own, in_file=in_file)
        return f"unknown setting. {answer or expected}"

    def settings_for(self, word: str) -> list[str]:
        """Return the settings that `word` means, here or in other programs, such as ``images.size`` for ``imgsz``."""
        word = word.casefold().replace("-", "_")
        meant = name_of(word)
        names = [meant] if meant else self._named(word)
        return [self._numbered(name) for name in names if name in all_settings(self.model)]

    def reason_for(self, word: str) -> str | None:
        """Return why there is no setting that `word` means in other programs, or None if it is unknown."""
        word = word.casefold().replace("-", "_")
        others = (name.rpartition(".")[2] for other in self.others.values() for name in all_settings(other))
        is_known = name_of(word) or reason_for(word, "") or word in others
        return self._answer(word, (), [], in_file=False) if is_known else None

    def first_setting(self, location: Location) -> str | None:
        """Return the full name of the first setting of a section, such as ``head.kind``; None for a stage."""
        names = [".".join(map(str, (*location, name))) for name in settings_of(self.model, location)]
        return None if _STAGE in location else names[0]

    def _explain_section(self, word: str, content: Mapping[str, Any], *, in_file: bool) -> str:
        near = nearest(word, settings_of(self.model))
        if near and any(name.startswith(f"{near}.") for key in content for name in self._named(key)):
            return f"unknown setting. Did you mean {near}?"
        answers = {key: self._answer(key, (), [], in_file=in_file) for key in content}
        sections = ", ".join(settings_of(self.model))
        known = [f"{key}: {answer}" for key, answer in answers.items() if answer]
        return f"unknown section. {' '.join(known) or f'Expected one of {sections}.'}"

    def _answer(self, word: str, section: tuple[str, ...], own: list[str], *, in_file: bool) -> str | None:
        """Return what to write for a word in a section that has the settings `own`."""
        meant = name_of(word)
        method = str(self.model.model_fields["method"].default)
        if reason := reason_for(word, method):
            return reason.replace("stage.N", f"stage.{self.stages}")
        names = [meant] if meant and meant in all_settings(self.model) else self._named(word)
        if not names and not meant and (near := nearest(word, own)):
            return f"Did you mean {near}?"
        if names:
            return f"Did you mean {' or '.join(self._shown(name, section, in_file=in_file) for name in names)}?"
        for command, other in self.others.items():
            names = [name for name in all_settings(other) if name == meant or name.rpartition(".")[2] == word]
            if names:
                shown = self._shown(names[0], (), in_file=False)
                return f"{shown} is a setting of {command}; {method} has none like it."
        near = nearest(word, (*(name.rpartition(".")[2] for name in all_settings(self.model)), *WORDS))
        return self._answer(near, section, own, in_file=in_file) if near and near != word else None

    def _named(self, word: str) -> list[str]:
        return [name for name in all_settings(self.model) if name.rpartition(".")[2] == word]

    def _numbered(self, name: str) -> str:
        return name.replace(LAST_STAGE, f"{_STAGE}.{self.stages}")

    def _shown(self, name: str, section: tuple[str, ...], *, in_file: bool) -> str:
        """Return the name of a setting as it is written in the section."""
        place, _, setting = name.rpartition(".")
        if place.removesuffix(".last") == "".join(section):
            return setting
        full = self._numbered(name)
        if in_file:
            header = f"[[{_STAGE}]]" if place == LAST_STAGE else f"[{place}]"
            return f"{full} ({f'{setting} below {header}' if place else 'at the top of the file'})"
        return f"{full} (the last of {self.stages} stages)" if place == LAST_STAGE and self.stages > 1 else full
