"""Text for messages: printable names, counts, durations."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isnan
from typing import Any


def printable(text: str) -> str:
    """Return `text` with control characters and bytes that are not UTF-8 escaped, safe for a terminal."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def escaped(json_text: str) -> str:
    r"""Return JSON with all that a terminal would obey, and bytes that are not UTF-8, as \\uXXXX: the same meaning."""
    json_text = valid_json(json_text)
    codes = (char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in json_text)
    return json_text if json_text.isprintable() else "".join(codes)


def valid_json(json_text: str) -> str:
    r"""Return JSON whose text is valid UTF-8: other bytes of names as \\udcXX, which is read as the same name.

    Examples
    --------
    >>> print(valid_json('{"path": "caf\udce9.jpg"}'))
    {"path": "caf\udce9.jpg"}
    """
    with suppress(UnicodeEncodeError):  # half a character of Windows
        # Under a locale other than UTF-8, a letter of a name is several lone bytes.
        json_text = json_text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return json_text.encode("utf-8", "backslashreplace").decode("utf-8")


_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}


def counted(number: int, noun: str, verb: str = "") -> str:
    """Return a number with its noun, and with a verb after it, in the plural if needed.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class"), counted(0, "copy")
    ('1 image', '1,200 images', '2 classes', '0 copies')
    >>> counted(1, "image", "is"), counted(2, "image", "is"), counted(2, "epoch", "fits")
    ('1 image is', '2 images are', '2 epochs fit')
    """
    if number != 1:
        noun, verb = plural(noun), _PLURAL_VERBS.get(verb, verb.removesuffix("s"))
    return f"{number:,} {noun} {verb}".rstrip()


def plural(noun: str) -> str:
    """Return a noun in the plural.

    Examples
    --------
    >>> plural("image"), plural("class"), plural("batch"), plural("copy"), plural("day"), plural("epoch")
    ('images', 'classes', 'batches', 'copies', 'days', 'epochs')
    """
    if noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def shell_command(*words: object, windows: bool = os.name == "nt") -> str:
    """Return words as a command line that can be typed as it is, quoted for the shells of this system.

    Quotation marks are understood by cmd.exe and PowerShell alike; neither knows the single quotes of POSIX shells.

    Examples
    --------
    >>> shell_command("transfer-cli", "predict", "my run", windows=False)
    "transfer-cli predict 'my run'"
    >>> shell_command("transfer-cli", "predict", "my run", windows=True)
    'transfer-cli predict "my run"'
    """
    texts = [str(word) for word in words]
    if not windows:
        return shlex.join(texts)
    return " ".join(text if re.fullmatch(r"[\w.:/\\@+=~-]+", text) else f'"{text}"' for text in texts)


def utf8(path: str) -> str:
    r"""Return a path as valid UTF-8, other bytes escaped as \\xNN (Parquet stores UTF-8 only)."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def duration_text(seconds: float) -> str:
    """Return a time in seconds, minutes or hours.

    Examples
    --------
    >>> duration_text(48.4), duration_text(90), duration_text(5400)
    ('48 seconds', '1.5 minutes', '1.5 hours')
    >>> duration_text(1), duration_text(60)
    ('1 second', '1 minute')
    """
    if seconds < 59.5:
        number, unit = f"{seconds:.0f}", "second"
    elif seconds < 5400:
        number, unit = f"{seconds / 60:.3g}", "minute"
    else:
        number, unit = f"{seconds / 3600:.3g}", "hour"
    return f"{number} {unit if number == '1' else plural(unit)}"


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


def parse_duration(text: str) -> float | None:
    """Return a time span such as 90s, 10m, 1h or 1h30m in seconds; None if the text is none.

    Examples
    --------
    >>> parse_duration("1h30m"), parse_duration("soon")
    (5400.0, None)
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip().replace(" ", "").lower())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return float(3600 * hours + 60 * minutes + seconds) or None


def megabytes(size: int) -> str:
    """Return a number of bytes in MB or GB (10^6 and 10^9)."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names separated by commas, at most `most` of them.

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"], most=2)
    ('a, b', 'a, b and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nan_to_null(value: Any) -> Any:
    """Return `value` for JSON, which has no NaN: None in place of each.

    Examples
    --------
    >>> nan_to_null({"value": float("nan"), "low": 0.5})
    {'value': None, 'low': 0.5}
    """
    if isinstance(value, Mapping):
        return {key: nan_to_null(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_null(each) for each in value]
    return None if isinstance(value, float) and isnan(value) else value


def null_to_nan(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of a JSON file, with NaN for each value that is null.

    Examples
    --------
    >>> null_to_nan({"test": {"accuracy": {"value": None, "low": None}}})
    {'test': {'accuracy': {'value': nan, 'low': None}}}
    """
    result: dict[str, Any] = {}
    for key, each in metrics.items():
        if key == "value" and each is None:
            result[key] = float("nan")
        else:
            result[key] = null_to_nan(each) if isinstance(each, Mapping) else each
    return result


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` characters: if it is longer, without its middle.

    Examples
    --------
    >>> shortened("trap/2024/night/IMG_0001.JPG", 21)
    'trap/2024/…G_0001.JPG'
    """
    if len(text) <= width:
        return text
    end = width // 2
    return f"{text[: width - end - 1]}…{text[len(text) - end :]}"
