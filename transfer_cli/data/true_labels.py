"""The true labels of images to predict, where the table or the folder that they come from tells them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transfer_cli.data.table_paths import composed


@dataclass(frozen=True)
class TrueLabels:
    """Looks up the true labels of an image.

    Attributes
    ----------
    class_names : collection of str
        Of the model: a folder is a class if it has such a name.
    class_map : mapping of str to str
        The classes of folders that the model was trained with under other names.
    listed : mapping of str to tuple of str
        Labels by path, from a table.
    """

    class_names: Collection[str]
    class_map: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, path: str) -> tuple[str, ...]:
        """Return the labels of an image from its table, or else the nearest folder that is a class; empty if unknown.

        Examples
        --------
        >>> TrueLabels(["cat"]).of("photos/cat/7.jpg"), TrueLabels(["cat"]).of("photos/dog/7.jpg")
        (('cat',), ())
        """
        if path in self.listed:
            return tuple(self.class_map.get(name, name) for name in self.listed[path])
        for folder in Path(path).parents:
            name = composed(folder.name)
            name = self.class_map.get(name, name)
            if name in self.class_names:
                return (name,)
        return ()
