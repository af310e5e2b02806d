"""Class names that are probably mistakes: dates, stations and cameras, and names that look the same."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

from transfer_cli.data.part_names import word_set, words

# Cyrillic and Greek letters that look like Latin ones.
_HOMOGLYPHS = str.maketrans("асеорхуіјѕԁһӏԝкмтвнοανρτυκιıɑɡ", "aceopxyijsdhlwkmtbhoavptukiiag")
_MONTHS = word_set("january february march april may june july august september october november december")
_DAYS = word_set("monday tuesday wednesday thursday friday saturday sunday")
_OTHER_MONTHS = word_set(
    "januar februar marz maerz mai juni juli oktober dezember janvier fevrier mars avril juin juillet aout septembre "
    "octobre novembre decembre enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre janeiro fevereiro marco maio junho julho setembro outubro novembro dezembro"
)
_CALENDAR = frozenset((*_MONTHS, *_OTHER_MONTHS, *_DAYS, *(name[:3] for name in (*_MONTHS, *_DAYS)), "sept"))
_ORDINALS = word_set("st nd rd th")
_SEASONS = word_set("autumn dry fall season spring summer wet winter")
_TIMES = word_set("date day deployment dia jahr jour month monat night session survey trip visit week woche year")
_STATIONS = word_set("estacion loc location ort place plot punto quadrat site sitio st standort station stn transect")
_CAMERAS = word_set(
    "bushnell browning cam camara camera cameras cameratrap cams camtrap dcim device fotofalle gopro kamera reconyx "
    "sdcard trap trapcam trailcam wildkamera"
)
_CJK_DATE = str.maketrans("\u5e74\u6708\u65e5", "-- ")
_KINDS = {"dates": _TIMES, "stations": _STATIONS, "cameras": _CAMERAS}
_SHORT = {
    "dates": word_set("tag"),
    "stations": word_set("area block farm field grid lake nest point pt region sector unit zone"),
    "cameras": word_set("card ct sd sensor"),
}
"""Words that may also be in the names of classes."""
_NAMING = _STATIONS - {"st"} | word_set("cam cams trapcam trailcam")
"""Words that with any other word name a place: station north, ridge cam; but camera lens."""
_DIRECTIONS = word_set("north south east west left right up down upper lower nord sud ost")
_MOST = 2 / 3


def unlike_classes(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return what class names look like (``dates``, ``stations``, ``cameras``), and which do; None if they do not.

    A full date or a numbered camera or station counts wherever it occurs; what may also be a class, such as 2024, May
    or A07, counts if most names are of this kind.

    Examples
    --------
    >>> unlike_classes(["2024-05-01", "fox"]), unlike_classes(["cam1", "cam2"]), unlike_classes(["camera", "cup"])
    (('dates', ['2024-05-01']), ('cameras', ['cam1', 'cam2']), None)
    """
    for tests, share in ((_CERTAIN, 0.0), (_POSSIBLE, _MOST)):
        for kind, test in tests:
            found = [name for name in names if test(name)]
            if test is _is_code and not any(map(_has_padded_number, found)):
                continue
            if found and len(found) >= share * len(names) and (not share or len(found) > 1):
                return kind, found
    return None


def look_alike(names: Iterable[str]) -> list[list[str]]:
    """Return groups of names that differ only in case, blanks, hyphens, invisible letters or the script of a letter.

    Examples
    --------
    >>> look_alike(["fox", "Fox", "fox ", "hare", "red_fox", "red fox"])
    [['Fox', 'fox', 'fox '], ['red fox', 'red_fox']]
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[_appearance(name)].add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def repeated_folders(deeper: Mapping[str, set[str]]) -> list[str]:
    """Return the names of folders that repeat under every class; none if some class has no folder of another one.

    Examples
    --------
    >>> repeated_folders({"north": {"fox", "hare"}, "south": {"fox"}}), repeated_folders({"a": {"x"}, "b": {"y"}})
    (['fox'], [])
    """
    counts = Counter(name for below in deeper.values() for name in below)
    repeated = {name for name, count in counts.items() if count > 1}
    is_everywhere = len(deeper) > 1 and all(below & repeated for below in deeper.values())
    says_something = len(counts) > 1 or unlike_classes([*counts]) is not None
    return sorted(repeated) if is_everywhere and says_something else []


def _appearance(name: str) -> str:
    # Marks of category Cf (zero-width space, soft hyphen), Mn selectors and control characters are not visible.
    text = unicodedata.normalize("NFKC", name).casefold().replace("i\u0307", "i").translate(_HOMOGLYPHS)
    text = "".join(
        char for char in text if unicodedata.category(char) not in ("Cf", "Cc", "Cn", "Co") and not _is_selector(char)
    )
    # A hyphen between letters is like a blank; before a number it is a sign. Between digits a blank counts: 1 2, 12.
    text = re.sub(r"[\s_\u2800\u3164]+", " ", text).strip()
    return re.sub(r"(?<!\d) | (?!\d)|(?<=[^\W\d_])[-\u2010-\u2015\u2212](?=\w)", "", text)


def _is_selector(char: str) -> bool:
    return (
        "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef" or char in "\u034f\u115f\u1160\u17b4\u17b5"
    )


def _is_full_date(name: str) -> bool:
    """Return whether a name begins or ends with a day: 2024-05-01, 20240501, 1.5.2024, 12-Jan-2023."""
    for pattern in (
        r"(?<!\d)((?:19|20)\d\d)[\W_](\d\d?)[\W_](\d\d?)(?!\d)",
        r"(?<!\d)((?:19|20)\d\d)(\d\d)(\d\d)(?!\d)",
        r"(?<!\d)(\d\d?)[\W_](\d\d?)[\W_]((?:19|20)\d\d)(?!\d)",
    ):
        if (match := re.search(pattern, name.translate(_CJK_DATE))) and _is_day(
            [int(number) for number in match.groups()]
        ):
            return True
    tokens = words(name)
    return any(token in _CALENDAR for token in tokens) and any(re.fullmatch(r"(19|20)\d\d", token) for token in tokens)


def _is_day(numbers: Sequence[int]) -> bool:
    first, second, third = numbers
    year, others = (first, (second, third)) if first > 31 else (third, (first, second))
    for month, day in (others, others[::-1]):
        try:
            date(year + 2000 * (year < 100), month, day)
        except ValueError:
            continue
        return True
    return False


def _is_dated(name: str) -> bool:
    """Return whether a name may be a year, a season, a month, a weekday, a day without year or a date of six digits."""
    name, tokens = name.strip(), words(name)
    for pattern in (r"(\d\d)(\d\d)(\d\d|(?:19|20)\d\d)", r"(\d\d)[-_. ](\d\d)()", r"(\d\d)[\W_](\d\d)[\W_](\d\d)"):
        if (match := re.fullmatch(pattern, name)) and _is_day([int(number or 0) for number in match.groups()]):
            return True
    if re.fullmatch(r"(19|20)\d\d([\W_]?(0[1-9]|1[0-2]|[wW]\d\d?|[qQ][1-4]))?", name):
        return True
    if re.fullmatch(r"(0?[1-9]|1[0-2])[\W_](19|20)\d\d", name):
        return True
    if match := re.fullmatch(r"(?:19|20)(\d\d)[-_/](\d\d)", name):
        return int(match[2]) == int(match[1]) + 1
    # Numbers alone are labels such as 0 to 9, and seasons or weather alone may be what images show.
    has_word = any(token in _CALENDAR for token in tokens) or (
        any(token in _SEASONS for token in tokens) and any(token.isdigit() for token in tokens)
    )
    return has_word and all(token in _CALENDAR | _SEASONS | _ORDINALS or token.isdigit() for token in tokens)


def _is_numbered(known_words: frozenset[str]) -> Callable[[str], bool]:
    """Return the test for names such as cam1, Station A and Site-03-B."""
    known = "|".join(sorted(known_words, key=len, reverse=True))
    pattern = re.compile(rf"(?:.*\W)?(?:{known})(?: ?\d+(?: ?[a-z])?| [a-z]| [ivx]+)(?:\W.*)?")
    return lambda name: pattern.fullmatch(" ".join(words(name))) is not None


def _has_word(kind: str) -> Callable[[str], bool]:
    """Return the test for names such as station north, ridge cam and north camera, but not gas station."""
    known = _KINDS[kind]

    def test(name: str) -> bool:
        tokens = words(name)
        is_named = tokens[:1] != tokens[-1:] and (
            tokens[0] in known & _NAMING or tokens[-1] in known & _CAMERAS & _NAMING
        )
        return is_named or not (known.isdisjoint(tokens) or _DIRECTIONS.isdisjoint(tokens))

    return test


def _is_camera_folder(name: str) -> bool:
    """Return whether a camera named a folder by the DCF standard: 100MEDIA, 101RECNX, 100EK113, DCIM."""
    return re.fullmatch(r"DCIM|[1-9]\d\d[A-Z_][A-Z0-9_]{4}", name) is not None


def _is_code(name: str) -> bool:
    """Return whether a name is a letter and a number of fixed length, as of a grid: A07, KRU_B04."""
    return re.fullmatch(r"(?:[A-Z]{2,4}[-_ ])?(?:S\d[-_ ])?[A-Z][-_ ]?\d{2,3}([-_ ]?[A-Z]?\d{1,3})?", name) is not None


def _has_padded_number(name: str) -> bool:
    """Return whether a number has a leading zero, unlike in the names of products such as A320 and F16."""
    return re.search(r"[A-Z][-_ ]?0", name) is not None


_CERTAIN = (
    ("dates", _is_full_date),
    ("cameras", _is_camera_folder),
    *((kind, _is_numbered(known)) for kind, known in _KINDS.items()),
)
_POSSIBLE = (
    ("dates", _is_dated),
    *((kind, _is_numbered(known)) for kind, known in _SHORT.items()),
    *((kind, _has_word(kind)) for kind in _KINDS),
    ("stations", _is_code),
)
