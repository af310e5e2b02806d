"""Arguments of public functions: paths as text or path objects, and a TypeError that says what is expected."""

from __future__ import annotations

import os
from pathlib import Path

StrPath = str | os.PathLike[str]
"""A path as Python users write it: ``"photos"``, ``Path("photos")``, or an object with ``__fspath__``."""


def as_path(value: StrPath, what: str) -> Path:
    """Return a path that a user gave.

    Parameters
    ----------
    value : str or os.PathLike
    what : str
        What the path is of, for the message.

    Raises
    ------
    TypeError
        If it is neither text nor a path object.

    Examples
    --------
    >>> as_path("photos", "an image folder").name
    'photos'
    """
    return Path(as_text(value, what))


def as_text(value: StrPath, what: str) -> str:
    """Return the text of a path that a user gave; as `as_path`, without changing how it is written."""
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        return text
    raise TypeError(f"Expected {what} as str or os.PathLike, such as pathlib.Path. Received: {type_of(value)}.")


def check_type(value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise TypeError, which says what is expected, unless a value is of a type; a bool is not an int.

    Examples
    --------
    >>> check_type("3", int, "a number of images")
    Traceback (most recent call last):
        ...
    TypeError: Expected a number of images. Received: str '3'.
    """
    is_bool = isinstance(value, bool) and bool not in (kind if isinstance(kind, tuple) else (kind,))
    if is_bool or not isinstance(value, kind):
        shown = f" {value!r}" if isinstance(value, str | int | float) else ""
        raise TypeError(f"Expected {expected}. Received: {type_of(value)}{shown}.")


def type_of(value: object) -> str:
    """Return the name of the type of a value, for a message; of an array also its shape and element type.

    Examples
    --------
    >>> type_of(3), type_of(None)
    ('int', 'None')
    """
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__qualname__}"
    shape, element = getattr(value, "shape", None), getattr(value, "dtype", None)
    return name if shape is None or element is None else f"{name} of shape {tuple(shape)}, {element}"
