"""Keyword arguments that a TypedDict lists: typed for editors, shown by help(), and checked at each call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from transfer_cli.errors import InputError, did_you_mean
from transfer_cli.python_wording import python_errors

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_NO_CHOICE = "literal_error"
"""What pydantic calls a value that is none of the listed ones."""


def takes(options: type[Any]) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Return the decorator of a function whose ``**keywords`` are those of a TypedDict.

    Its signature lists each keyword, and a call with an unknown name or a wrong type raises TypeError; a value that is
    not possible raises InputError. Errors of the function name keywords, not options of the command line.
    """

    def decorate(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        explicit = [each for each in inspect.signature(function).parameters.values() if each.kind != each.VAR_KEYWORD]
        flags = {each.name for each in explicit if each.annotation in (bool, "bool")}

        @functools.wraps(function)
        def checked(*arguments: _Parameters.args, **keywords: _Parameters.kwargs) -> _Result:
            own = {each.name for each in explicit}
            for flag in flags & keywords.keys():
                if not isinstance(keywords[flag], bool):
                    received = f"Received: {keywords[flag]!r}."
                    raise TypeError(f"{function.__name__}({flag}=...): expected bool. {received}")
            check_keywords(
                function.__name__, options, {key: value for key, value in keywords.items() if key not in own}, own
            )
            with python_errors():
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
        name = str(error.errors()[0]["loc"][0])
        faults = [each for each in error.errors() if each["loc"][0] == name]
        place, shown = f"{function}({name}=...)", f"Received: {received[name]!r}."
        if _is_wrong_type(received[name], [each["type"] for each in faults]):
            advice = _advice(name, received[name])
            raise TypeError(f"{place}: expected {_described(types[name])}. {shown}{advice}") from None
        limits = [each["msg"].replace("Input should be ", "") for each in faults if not _is_type_fault(each["type"])]
        is_choice = all(each["type"] == _NO_CHOICE for each in faults)
        expected = _described(types[name]) if is_choice else f"a value {' or '.join(limits)}"
        raise InputError(f"{place}: expected {expected}. {shown}") from None


def _is_wrong_type(value: object, faults: Sequence[str]) -> bool:
    """Return whether no type of a keyword fits, rather than a value being outside of its limits or choices.

    Parameters
    ----------
    value : object
    faults : sequence of str
        What pydantic calls its errors, one or more for each type of the keyword.
    """
    if all(fault == _NO_CHOICE for fault in faults):
        return not isinstance(value, str)
    return all(_is_type_fault(fault) or fault == _NO_CHOICE for fault in faults)


def _is_type_fault(fault: str) -> bool:
    return fault.endswith("_type") or fault == "is_instance_of"


def _advice(name: str, value: object) -> str:
    """Return what to do with a network of Keras that is given in place of its file; Keras is not imported for it."""
    is_network = any(each.__module__.startswith("keras.") and each.__name__ == "Model" for each in type(value).__mro__)
    if name != "backbone" or not is_network:
        return ""
    return ' Save the network first: network.save("mine.keras"), then pass backbone="mine.keras", preprocess=...'


def _described(hint: Any) -> str:
    """Return a type as words: ``int, 'auto' or None``."""
    *others, last = _names(hint)
    return f"{', '.join(others)} or {last}" if others else last


def _names(hint: Any) -> list[str]:
    if hint is type(None):
        return ["None"]
    if get_origin(hint) is Literal:
        return [repr(value) for value in get_args(hint)]
    if get_origin(hint) in (Union, UnionType):
        return [name for each in get_args(hint) for name in _names(each)]
    return [inspect.formatannotation(hint).replace("collections.abc.", "")]


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
