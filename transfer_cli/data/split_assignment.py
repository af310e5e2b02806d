"""Which part (train, val or test) an image is assigned to: by its content or group, never by its position in a list."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

PARTS = ("train", "val", "test")


def part_of(digest: str, *, test: float, val: float, seed: int = 0) -> str:
    """Return the part of an image, decided by its digest and `seed` alone.

    Examples
    --------
    >>> part_of("00" * 32, test=0.2, val=0.1)
    'train'
    """
    salted = hashlib.sha256(f"{seed}:{digest}".encode()).digest()
    position = int.from_bytes(salted[:8], "big") / 2**64
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def unit_ids(digests: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """Return what decides the part of each image: its own digest, or the digest of the name of its group."""
    return [
        digest if group is None else hashlib.sha256(f"group:{group}".encode("utf-8", "surrogateescape")).hexdigest()
        for digest, group in zip(digests, groups, strict=True)
    ]


def parts_of_groups(
    fixed: Sequence[str | None], groups: Sequence[str | None], units: Sequence[str], allowed: Sequence[str]
) -> dict[str, str]:
    """Return the part of each group some of whose images already have one; the first of `PARTS` if they differ."""
    parts_of: dict[str, set[str]] = defaultdict(set)
    for part, group, unit in zip(fixed, groups, units, strict=True):
        if group is not None and part is not None and part in allowed:
            parts_of[unit].add(part)
    return {unit: min(parts, key=PARTS.index) for unit, parts in parts_of.items()}


class ExistingParts:
    """Parts out of an existing split, given as (path, digest, part) of each image."""

    def __init__(self, rows: Iterable[tuple[str, str, str]]) -> None:
        self._by_path: dict[str, tuple[str, str]] = {}
        by_digest: dict[str, set[str]] = defaultdict(set)
        for path, digest, part in rows:
            self._by_path[path] = (digest, part)
            # A table of another program has no digests.
            if digest:
                by_digest[digest].add(part)
        self._by_digest = {digest: parts.pop() for digest, parts in by_digest.items() if len(parts) == 1}

    def part(self, path: str, digest: str) -> str | None:
        """Return the part of an image, or None if the split does not contain it."""
        known_digest, part = self._by_path.get(path, (None, None))
        if known_digest == digest:
            return part
        # A renamed image keeps its part; so does an edited one, which is a near-duplicate of its old version.
        return self._by_digest.get(digest) or part


def fill_missing(
    parts: list[str],
    free: Sequence[bool],
    labels: Sequence[tuple[str, ...]],
    units: Sequence[str],
    wanted: Sequence[str],
    groups: Sequence[str | None],
) -> None:
    """Give each class that lacks a wanted part its image (or group) with the lowest digest, in place.

    Images with equal bytes move together, groups move as a whole, and no part loses its last image of a class. Train
    is filled first.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    together: Mapping[str, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        for label in labels[index]:
            members[label][unit].append(index)
        if groups[index] is not None:
            together[unit].append(index)

    def units_in(label: str, part: str) -> int:
        return sum(any(parts[index] == part for index in indices) for indices in members[label].values())

    for part in ("train", *wanted):
        for label, by_unit in members.items():
            if units_in(label, part):
                continue
            for unit in sorted(by_unit):
                indices = together.get(unit, by_unit[unit])
                origin = parts[indices[0]]
                losing = {other for index in indices for other in labels[index]} if part != "train" else ()
                if all(free[index] for index in indices) and all(units_in(other, origin) > 1 for other in losing):
                    for index in indices:
                        parts[index] = part
                    break
