"""Text for a person: printable names, counts, durations."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` as a terminal can show it.

    File names may hold bytes that are no UTF-8, and control characters that would move a cursor.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def counted(number: int, noun: str) -> str:
    """Return a number of things as a person says it.

    Examples
    --------
    >>> counted(1, "picture"), counted(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def utf8(path: str) -> str:
    r"""Parquet holds UTF-8 only; a name that is none keeps its odd bytes as \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def seconds_in_words(seconds: float) -> str:
    """Return seconds for a person.

    Examples
    --------
    >>> seconds_in_words(48.4), seconds_in_words(90), seconds_in_words(5400)
    ('48 seconds', '1.5 minutes', '1.5 hours')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.3g} minutes" if seconds < 5400 else f"{seconds / 3600:.3g} hours"
