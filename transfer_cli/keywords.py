"""Keyword arguments that a TypedDict lists: typed for editors, shown by help(), and checked at each call."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_type_hints

from transfer_cli.errors import InputError, did_you_mean

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def takes(options: type[Any]) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Return the decorator of a function whose ``**keywords`` are those of a TypedDict.

    Its signature lists each keyword, and a call with an unknown name or a wrong type raises TypeError; a value that is
    not possible raises InputError.
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        explicit = [each for each in inspect.signature(function).parameters.values() if each.kind != each.VAR_KEYWORD]

        @functools.wraps(function)
        def checked(*arguments: _Parameters.args, **keywords: _Parameters.kwargs) -> _Result:
            own = {each.name for each in explicit}
            check_keywords(
                function.__name__, options, {key: value for key, value in keywords.items() if key not in own}, own
            )
            return function(*arguments, **keywords)

        keyword_only = inspect.Parameter.KEYWORD_ONLY
        more = [
            inspect.Parameter(name, keyword_only, default=False if hint is bool else None, annotation=hint)
            for name, hint in hints(options)
        ]
        parameters = sorted([*explicit, *more], key=lambda each: each.kind)
        checked.__signature__ = inspect.signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
        return checked

    return decorate


def hints(options: type[Any]) -> list[tuple[str, Any]]:
    """Return the name and the type of each keyword."""
    return [*get_type_hints(options).items()]


def check_keywords(function: str, options: type[Any], received: Mapping[str, object], others: set[str]) -> None:
    """Raise TypeError for an unknown keyword or a wrong type, and InputError for a value that is not possible.

    Parameters
    ----------
    function : str
        Its name, for the message.
    options : type
        A TypedDict; the types may have limits, as `Annotated` types of pydantic.
    received : mapping of str to object
    others : set of str
        Further parameters of the function, which a misspelt name may mean.
    """
    types = dict(hints(options))
    for name in received:
        if name not in types:
            near = did_you_mean(name, [*types, *others]) or f" Expected: {', '.join(types)}."
            raise TypeError(f"{function}() has no argument {name!r}.{near}")
    from pydantic import ValidationError

    try:
        _model(options).model_validate({name: _plain(value) for name, value in received.items()})  # type: ignore[arg-type]
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0])
        same = [each for each in error.errors() if each["loc"][0] == name]
        shown = f"Received: {received[name]!r}."
        if all(each["type"].endswith("_type") or each["type"] == "is_instance_of" for each in same):
            kind = re.sub(r"Optional\[(.*)\]$", r"\1 | None", inspect.formatannotation(types[name]))
            kind = kind.replace("collections.abc.", "")
            raise TypeError(f"{function}({name}=...): expected {kind}. {shown}") from None
        limits = [each["msg"] for each in same if not each["type"].endswith("_type")]
        expected = " or ".join(text.replace("Input should be ", "") for text in limits)
        raise InputError(f"{function}({name}=...): expected a value {expected}. {shown}") from None


@functools.cache
def _model(options: type[Any]) -> Any:
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {name: (hint, None) for name, hint in get_type_hints(options, include_extras=True).items()}
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    return create_model("Keywords", __config__=config, **fields)


def _plain(value: object) -> object:
    """Return a number of NumPy as one of Python."""
    item = getattr(value, "item", None)
    return item() if item is not None and getattr(value, "shape", None) == () else value
