"""Read the pickles of CIFAR without unpickling: an interpreter for data alone, which calls nothing.

A pickle is a program. Python's unpickler runs it, and whatever it imports; this reader knows the instructions for
numbers, bytes, lists, dictionaries and NumPy's uint8 arrays, and refuses every other one.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_NAMES = {**dict.fromkeys(_RECONSTRUCT, "reconstruct"), "numpy ndarray": "ndarray", "numpy dtype": "dtype"}
_UINT8 = (b"u1", b"|u1")
_MARK = object()


@dataclass
class _Name:
    """One of the names in `_NAMES`, which is never imported."""

    name: str


@dataclass
class _Type:
    """The type of an array's elements, as NumPy abbreviates it."""

    name: object


@dataclass
class _Array:
    """An array that is being read."""

    content: NDArray[np.uint8] | None = None

    def build(self, state: object) -> None:
        """Take the content: version, shape, type of the elements, whether columns come first, bytes."""
        match state:
            case (int(), tuple() as shape, _Type(name=name), False | 0, bytes() as content) if name in _UINT8:
                if all(type(side) is int and side >= 0 for side in shape) and prod(shape) == len(content):
                    self.content = np.frombuffer(content, np.uint8).reshape(shape)
                    return
        raise ValueError("an array that is not of uint8, or whose shape does not fit its bytes")


def read_pickled_data(pickled: bytes) -> dict[bytes, Any]:
    """Return the dictionary in a pickle of plain data; nothing in it is imported or called.

    Parameters
    ----------
    pickled : bytes

    Returns
    -------
    dict
        Keys as bytes. Text is UTF-8 encoded, as is that of Python 2; arrays are of uint8.

    Raises
    ------
    ValueError
        If it is no pickle of a dictionary, or has an instruction or a name that plain data does not need.
    """
    try:
        found = _Reader().run(pickled)
    except (IndexError, KeyError, StopIteration, TypeError, AttributeError, UnicodeError) as error:
        raise ValueError(f"it is not a well-formed pickle ({error!r})") from error
    if not isinstance(found, dict) or not all(isinstance(key, bytes) for key in found):
        raise ValueError("it does not hold a dictionary")
    return {key: value.content if isinstance(value, _Array) else value for key, value in found.items()}


class _Reader:
    """The stack and the memo of a pickle that is read."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(("PROTO", "FRAME"), lambda argument: None),
            **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT"), self._push),
            **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES"), self._push),
            # What Python 2 calls a string are bytes, which pickletools decodes one by one.
            **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING", "STRING"), lambda text: self._push(text.encode("latin1"))),
            **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), lambda text: self._push(text.encode())),
            "NONE": lambda argument: self._push(None),
            "NEWTRUE": lambda argument: self._push(True),
            "NEWFALSE": lambda argument: self._push(False),
            "MARK": lambda argument: self._push(_MARK),
            "EMPTY_DICT": lambda argument: self._push({}),
            "EMPTY_LIST": lambda argument: self._push([]),
            "EMPTY_TUPLE": lambda argument: self._push(()),
            "TUPLE": lambda argument: self._push(tuple(self._marked())),
            "TUPLE1": lambda argument: self._tuple(1),
            "TUPLE2": lambda argument: self._tuple(2),
            "TUPLE3": lambda argument: self._tuple(3),
            "APPEND": lambda argument: self._extend([self._stack.pop()]),
            "APPENDS": lambda argument: self._extend(self._marked()),
            "SETITEM": lambda argument: self._update([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda argument: self._update(self._marked()),
            **dict.fromkeys(("BINPUT", "LONG_BINPUT"), self._remember),
            **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda place: self._push(self._memo[place])),
            "MEMOIZE": lambda argument: self._remember(len(self._memo)),
            "GLOBAL": self._name,
            "REDUCE": self._reduce,
            "BUILD": self._build,
        }

    def run(self, pickled: bytes) -> Any:
        for instruction, argument, _ in pickletools.genops(pickled):
            if instruction.name == "STOP":
                (found,) = self._stack
                return found
            if instruction.name not in self._steps:
                raise ValueError(f"it has the instruction {instruction.name}, which plain data does not need")
            self._steps[instruction.name](argument)
        raise ValueError("it has no end")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _marked(self) -> list[Any]:
        """Return what is above the last mark, and remove both."""
        place = next(number for number in reversed(range(len(self._stack))) if self._stack[number] is _MARK)
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _tuple(self, count: int) -> None:
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(values)

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("it appends to something that is not a list")
        target.extend(values)

    def _update(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise ValueError("it sets items of something that is not a dictionary")
        target.update(zip(values[::2], values[1::2], strict=True))

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _name(self, name: str) -> None:
        if name not in _NAMES:
            raise ValueError(f"it wants to import {name.replace(' ', '.')}, which was refused; no code in it was run")
        self._push(_Name(_NAMES[name]))

    def _reduce(self, argument: object) -> None:
        words, called = self._stack.pop(), self._stack.pop()
        if called == _Name("reconstruct"):
            self._push(_Array())
        elif called == _Name("dtype"):
            self._push(_Type(words[0]))
        else:
            raise ValueError("it calls something that was refused; no code in it was run")

    def _build(self, argument: object) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Array):
            target.build(state)
        elif not isinstance(target, _Type):
            raise ValueError("it changes something that was refused; no code in it was run")
