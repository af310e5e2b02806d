"""Every choice of a training, read from TOML, overridden word by word, checked all at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from transfer_cli.catalog import backbones, classifiers
from transfer_cli.errors import RecipeError, UnknownNameError, nearest

RESIZE_POLICIES = ("squash", "crop", "pad")


class _Choices(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Images(_Choices):
    """How a picture of any size becomes the network's input."""

    size: int | None = Field(default=None, ge=32, le=2048)
    """Side of the square input in pixels; the backbone's own where it is not given."""
    resize: Literal["squash", "crop", "pad"] = "squash"
    """squash: both sides to `size`; crop: the middle square; pad: the whole picture on black."""


class Parts(_Choices):
    """How pictures are parted where the folder does not say it."""

    test: float = Field(default=0.2, ge=0, lt=1)
    val: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _train_is_left(self) -> Parts:
        if self.test + self.val >= 1:
            raise ValueError(f"test and val are {self.test:g} and {self.val:g}, which leaves nothing to train on")
        return self


class Backbone(_Choices):
    """Which network looks at the pictures, and where it is cut."""

    name: str = "mobilenet_v2"
    weights: str = "imagenet"
    """imagenet, none (random, of the recipe's seed) or a file."""
    pooling: Literal["avg", "max", "flatten"] = "avg"
    layer: str | None = None
    """The layer whose output is the feature; the last one below the top where it is not given."""

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return _known(lambda: backbones.find(name).name)


class Classifier(_Choices):
    """Which scikit-learn method learns from the features."""

    name: str = "logistic"
    tune: bool | None = None
    """Choose the regularisation by cross-validation; the catalog's word where it is not given."""
    tune_seconds: float = Field(default=60, gt=0)
    """No new value is tried after that many seconds; the log says so if it happened."""

    @field_validator("name")
    @classmethod
    def _in_catalog(cls, name: str) -> str:
        return name if name == classifiers.NONE else _known(lambda: classifiers.find(name).name)


class Recipe(_Choices):
    """Every choice of one run.

    `resolved` fills in what depends on the backbone, so that the copy in the run says everything.
    """

    method: Literal["extract"] = "extract"
    seed: int = Field(default=0, ge=0, lt=2**32)
    batch_size: int = Field(default=32, ge=1, le=4096)
    images: Images = Images()
    split: Parts = Parts()
    backbone: Backbone = Backbone()
    classifier: Classifier = Classifier()

    @classmethod
    def load(
        cls,
        source: str | None = None,
        overrides: Sequence[str] = (),
        words: Mapping[str, Any] | None = None,
    ) -> Recipe:
        """Return the recipe called `source` (a shipped name or a file), overridden word by word.

        Parameters
        ----------
        source : str, optional
            A name out of `recipe_names` or the path of a TOML file; the defaults where it is not given.
        overrides : sequence of str
            Each ``section.word=value``, the value as TOML or as a bare word.
        words : mapping of str to object, optional
            ``{"section.word": value}``; None is no override. They go before `overrides`.

        Raises
        ------
        RecipeError
            With every fault of the file and of the overrides.
        """
        path = _locate(source) if source else None
        text, data = _read(path) if path else ("", {})
        given = dict(map(_parse_override, overrides))
        given |= {word: value for word, value in (words or {}).items() if value is not None}
        for word, value in given.items():
            _override(data, word, value)
        return cls.check(data, place=_Places(path, text, given))

    @classmethod
    def check(cls, data: dict[str, Any], place: _Places | None = None) -> Recipe:
        """Return the recipe that `data` spells; raise RecipeError with all its faults."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            place = place or _Places(None, "", ())
            faults = [f"{place.of(fault['loc'])}: {_explain(fault)}" for fault in error.errors()]
            count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
            raise RecipeError(f"The recipe has {count}:\n" + "\n".join(f"  {fault}" for fault in faults)) from None

    def resolved(self) -> Recipe:
        """Return the recipe with nothing left to the backbone or to the catalog."""
        spec = backbones.find(self.backbone.name)
        tune = self.classifier.tune
        if tune is None and self.classifier.name != classifiers.NONE:
            tune = classifiers.find(self.classifier.name).quick
        return self.model_copy(
            update={
                "images": self.images.model_copy(update={"size": self.images.size or spec.size}),
                "classifier": self.classifier.model_copy(update={"tune": bool(tune)}),
            }
        )

    def to_toml(self) -> str:
        """Return the recipe as TOML; reading it gives an equal recipe."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def recipes_folder() -> Path:
    """Return where the shipped recipes are: in the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


class _Places:
    """Where a word of the recipe was written."""

    def __init__(self, path: Path | None, text: str, overridden: Collection[str]) -> None:
        self._path = path
        self._lines = _lines_of_words(text)
        self._overridden = overridden

    def of(self, location: tuple[int | str, ...]) -> str:
        word = ".".join(str(step) for step in location)
        if word in self._overridden or self._path is None:
            return word
        line = self._lines.get(word)
        return f"{self._path}:{line}: {word}" if line else f"{self._path}: {word}"


def _lines_of_words(text: str) -> dict[str, int]:
    section = ""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split("#", 1)[0].strip()
        if bare.startswith("["):
            section = bare.strip("[] ") + "."
            lines[section[:-1]] = number
        elif "=" in bare:
            lines[section + bare.split("=", 1)[0].strip()] = number
    return lines


def _known(look_up: Any) -> str:
    try:
        return str(look_up())
    except UnknownNameError as error:
        raise ValueError(str(error)) from None


def _locate(source: str) -> Path:
    if source in recipe_names():
        return recipes_folder() / f"{source}.toml"
    path = Path(source)
    if path.is_file():
        return path
    near = nearest(source, recipe_names())
    guess = f" Did you mean {near}?" if near else ""
    raise RecipeError(
        f"There is no recipe and no file called {source!r}.{guess} "
        f"Expected one of {', '.join(recipe_names())}, or the path of a TOML file."
    )


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text("utf-8")
        return text, tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file that can be read: {error}.") from None


def _parse_override(override: str) -> tuple[str, Any]:
    word, equals, value = override.partition("=")
    if not equals or not word.strip():
        raise RecipeError(f"Expected --set SECTION.WORD=VALUE. Received: {override!r}.")
    return word.strip(), _value(value.strip())


def _override(data: dict[str, Any], word: str, value: Any) -> None:
    *sections, last = [step.strip() for step in word.split(".")]
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise RecipeError(f"{word}: {section} is a value, not a section of words.")
    data[last] = value


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(fault: ErrorDetails) -> str:
    received = fault["input"]
    if fault["type"] == "extra_forbidden":
        *section, word = fault["loc"]
        model: Any = Recipe
        for step in section:
            model = model.model_fields[str(step)].annotation
        words = list(model.model_fields)
        near = nearest(str(word), words)
        guess = f" Did you mean {near}?" if near else f" Expected one of {', '.join(words)}."
        return f"there is no such word.{guess}"
    if fault["type"] == "literal_error":
        expected = fault["ctx"]["expected"]
        words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
        close = difflib.get_close_matches(str(received), words, n=1)
        guess = f" Did you mean {close[0]}?" if close else ""
        return f"expected {', '.join(words)}. Received: {received!r}.{guess}"
    message = fault["msg"].removeprefix("Value error, ")
    return message if fault["type"] == "value_error" else f"{message}. Received: {received!r}."
