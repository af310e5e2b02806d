"""Text for messages: printable names, counts, durations."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with control characters and bytes that are not UTF-8 escaped, safe for a terminal."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def utf8(path: str) -> str:
    r"""Return a path as valid UTF-8, other bytes escaped as \\xNN (Parquet stores UTF-8 only)."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def duration_text(seconds: float) -> str:
    """Return a time in seconds, minutes or hours.

    Examples
    --------
    >>> duration_text(48.4), duration_text(90), duration_text(5400)
    ('48 seconds', '1.5 minutes', '1.5 hours')
    """
    if seconds < 59.5:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.3g} minutes" if seconds < 5400 else f"{seconds / 3600:.3g} hours"


def format_duration(seconds: float) -> str:
    """Return a duration as it is typed on the command line.

    Examples
    --------
    >>> format_duration(90), format_duration(600), format_duration(5400)
    ('1m30s', '10m', '1h30m')
    """
    whole = round(seconds)
    units = ((whole // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in units if count) or "0s"


def megabytes(size: int) -> str:
    """Return a number of bytes in MB or GB (10^6 and 10^9)."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"
