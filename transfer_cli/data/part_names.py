"""Which part of a data set a folder is called after: train, val or test, alone or with other words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PART_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names that mean a part wherever they hold class folders; other names need the same class folders as evidence."""
_WORDS = {
    **PART_FOLDERS,
    "trn": "train",
    "learn": "train",
    "learning": "train",
    "apprentissage": "train",
    "entrenamiento": "train",
    "treino": "train",
    "dev": "val",
    "development": "val",
    "validate": "val",
    "eval": "val",
    "evaluation": "val",
    "tst": "test",
    "holdout": "test",
    "heldout": "test",
    "prueba": "test",
    "teste": "test",
}


_EVALUATION = frozenset(("eval", "evaluation"))


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


# Words that say nothing about the content of a folder.
_GENERIC = word_set(
    "a all anns annotated archive class classes clean copy cropped data dataset datasets daten dir directory "
    "dirs file files final folder folders full hold image images img imgs jpeg jpegs jpg jpgs labeled labelled "
    "new of old out photo photos png pngs raw resized s sample samples sdaten set "
    "sets small split splits subset the"
) | {f"pic{end}" for end in ("", "s", "ture", "tures")}
_FOLD_WORDS = word_set(
    "batch chunk cv fold group k kfold part partition parts run round set shard split subset version"
)
_NUMBERS = word_set("one two three four five six seven eight nine ten first second third fourth fifth")
_UNLABELLED = word_set(
    "extra inference none pred predict prediction predictions submission unclassified unknown unlabeled "
    "unlabelled unsorted unsup unsupervised"
)


class PartName(NamedTuple):
    """The part that a name means, and its words that say something else: ``("train", ("seg",))`` for seg_train."""

    part: str
    rest: tuple[str, ...]


def part_name(name: str) -> PartName | None:
    """Return the part that the name of a folder means, or None.

    Examples
    --------
    >>> part_name("Train_Images"), part_name("seg_test"), part_name("trainset2")
    (PartName(part='train', rest=()), PartName(part='test', rest=('seg',)), PartName(part='train', rest=()))
    >>> part_name("strain"), part_name("bus"), part_name("train_val")
    (None, None, None)
    """
    tokens = words(name)
    if tokens[:2] == ["hold", "out"] or tokens[-2:] == ["hold", "out"]:
        tokens = ["holdout", *(token for token in tokens if token not in ("hold", "out"))]
    found = [_part_in(token) for token in tokens]
    parts = {item.part for item in found if item is not None}
    if len(parts) != 1:
        return None
    rest = [
        word
        for token, item in zip(tokens, found, strict=True)
        for word in ((token,) if item is None else item.rest)
        if word not in _GENERIC and not word.isdigit()
    ]
    return PartName(parts.pop(), tuple(rest))


def is_exact(name: str) -> bool:
    """Return whether a name is one of `PART_FOLDERS`."""
    return name.lower() in PART_FOLDERS


def plain_part(name: str) -> str | None:
    """Return the part that a name means if it has no other word: training_set and Test 2, but not seg_train."""
    found = part_name(name)
    return found.part if found and not found.rest else None


def with_test(names: Mapping[str, PartName]) -> dict[str, PartName]:
    """Return the parts of folders, with evaluation as test if another folder is for validation and none for test."""
    unclear = {name for name in names if not _EVALUATION.isdisjoint(words(name))}
    others = {found.part for name, found in names.items() if name not in unclear}
    if "val" not in others or "test" in others:
        return dict(names)
    return {name: found._replace(part="test") if name in unclear else found for name, found in names.items()}


def is_generic(name: str) -> bool:
    """Return whether the name of a folder says nothing about the images in it, such as images or test."""
    part = part_name(name)
    return not (part.rest if part else content_words(name))


def content_words(name: str) -> list[str]:
    """Return the words of a name that may say something about the images in a folder: not images or data."""
    return [word for word in words(name) if word not in _GENERIC and not word.isdigit()]


def is_unlabelled(name: str) -> bool:
    """Return whether a folder is called after images without labels."""
    return bool(_UNLABELLED.intersection(words(name)))


def are_folds(names: Sequence[str]) -> bool:
    """Return whether all names are those of folds or other numbered parts: fold1, set_b, split 3."""
    if len(names) < 2 or len({name.casefold() for name in names}) < len(names):
        return False
    return all(_is_fold(name) for name in names)


def words(name: str) -> list[str]:
    """Return the words and numbers of a name in lower case, without accents.

    Examples
    --------
    >>> words("TrainImages_2"), words("Kamera-03")
    (['train', 'images', '2'], ['kamera', '03'])
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[^\W\d_]?[^\W\d_A-Z]+|[^\W\d_]|\d+", plain)]


def _part_in(token: str) -> PartName | None:
    if token in _WORDS:
        return PartName(_WORDS[token], ())
    for word in sorted(_WORDS, key=len, reverse=True):
        # Glued words: trainset, segtrain. Shorter ones are syllables of other words.
        if len(word) > 3 or word == "val":
            if token.startswith(word) and token.removeprefix(word) in _GENERIC:
                return PartName(_WORDS[word], ())
            # strain is a class; its first letter would be taken for a plural's.
            if len(word) > 3 and token.endswith(word) and token != "strain":
                return PartName(_WORDS[word], (token.removesuffix(word),))
    return None


def _is_fold(name: str) -> bool:
    tokens = words(name)
    is_numbered = any(token.isdigit() or token in _NUMBERS or (len(token) == 1 and token != "k") for token in tokens)
    known = _FOLD_WORDS | _GENERIC | _NUMBERS
    others = [token for token in tokens if token not in known and not token.isdigit() and len(token) > 1]
    return is_numbered and not others and bool(_FOLD_WORDS.intersection(tokens))
