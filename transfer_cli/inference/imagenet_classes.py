"""The 1000 ImageNet classes: their WordNet numbers and names, and how a folder may name them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transfer_cli.catalog import backbones
from transfer_cli.errors import FolderError, ModelError, nearest
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.models.weights.integrity import check_digest
from transfer_cli.models.weights.registry import cache_folder
from transfer_cli.text import listed, printable

_NUMBER = re.compile(r"(?<![a-z0-9])n\d{8}(?![0-9])")
_MEANINGS = {
    "n02012849": "the bird",
    "n03126707": "the machine",
    "n02113186": "the dog",
    "n02963159": "the garment",
    "n03710637": "the swimsuit or tights",
    "n03710721": "the one-piece swimsuit",
}
"""Classes whose name is also that of another one."""
_SHOWN = 20


@dataclass(frozen=True)
class ImageNetClasses:
    """The classes of ImageNet (ILSVRC 2012), in the order of a network's output.

    Attributes
    ----------
    numbers : tuple of str
        WordNet numbers, such as n01440764.
    words : tuple of str
        The names that keras.applications decodes, such as tench.
    """

    numbers: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def read(cls) -> ImageNetClasses:
        """Return the classes that the file in the Keras cache lists; raise ModelError if it is another file."""
        path = cache_folder() / backbones.CLASS_INDEX.name
        check_digest(backbones.CLASS_INDEX)
        try:
            index = read_json(path)
            pairs = [index[str(column)] for column in range(len(index))]
            numbers, words = zip(*((str(number), str(word)) for number, word in pairs), strict=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} is not the list of ImageNet classes that Keras provides: {error}.") from error
        return cls(numbers, words)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for each class; two words occur twice (crane, maillot), and have their WordNet number appended."""
        count = Counter(self.words)
        pairs = zip(self.numbers, self.words, strict=True)
        return tuple(word if count[word] == 1 else f"{word} ({number})" for number, word in pairs)

    def find(self, name: str) -> list[str]:
        """Return the names of the classes that a folder name may mean: none, one, or several.

        A WordNet number anywhere in it decides; else the name, exact or without regard to case, blanks and signs.

        Examples
        --------
        >>> classes = ImageNetClasses(("n01440764", "n01484850"), ("tench", "great_white_shark"))
        >>> classes.find("n01440764 fish"), classes.find("Great White Shark"), classes.find("shark")
        (['tench'], ['great_white_shark'], [])
        """
        if number := _NUMBER.search(name.lower()):
            return [self.names[self.numbers.index(number[0])]] if number[0] in self.numbers else []
        for key in (str, _fold):
            if found := [full for word, full in zip(self.words, self.names, strict=True) if key(word) == key(name)]:
                return found
        return []

    def names_of(self, folders: Sequence[str], source: Path) -> dict[str, str]:
        """Return the name of the class of each folder.

        Raises
        ------
        FolderError
            If folders are no classes of ImageNet, or could be several; all of them are listed.
        """
        found = {name: self.find(name) for name in folders}
        unknown = [self._with_guess(name) for name, names in found.items() if not names]
        ambiguous = [self._ambiguous(name, names) for name, names in found.items() if len(names) > 1]
        if not unknown and not ambiguous:
            return {name: full for name, (full,) in found.items()}
        faults = [f"classes that are not among the 1000 ImageNet classes: {listed(unknown, _SHOWN)}"] if unknown else []
        faults += [f"a class name of two ImageNet classes: {each}" for each in ambiguous]
        raise FolderError(
            f"{printable(str(source))} has {'; and '.join(faults)}. Expected WordNet numbers, such as n01440764, or "
            "the names that keras.applications decodes, such as tench.",
            hint="Name the class of each folder in a table with the columns from,to (an empty `to` leaves it out), and "
            "add: --class-map FILE.csv",
        )

    def _with_guess(self, name: str) -> str:
        near = nearest(name, [*self.words, *self.numbers])
        return f"{printable(name)} (did you mean {near}?)" if near else printable(name)

    def _ambiguous(self, name: str, names: Sequence[str]) -> str:
        numbers = [self.numbers[self.names.index(full)] for full in names]
        shown = [f"{number} ({_MEANINGS[number]})" if number in _MEANINGS else number for number in numbers]
        return f"{printable(name)} is {' or '.join(shown)}"


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
