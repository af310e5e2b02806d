"""The error for weights that are not on this machine: what is missing, in plain words, and three ways to go on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transfer_cli.catalog.backbones import EMBEDDED, WeightsFile
from transfer_cli.errors import WeightsError
from transfer_cli.text import listed

OFFLINE = "--offline was given"
"""The reason that no download was tried."""
VARIABLE = "TRANSFER_CLI_OFFLINE"
_MAX_LISTED = 8
_SAME = 0.05


@dataclass(frozen=True)
class MissingWeights:
    """Weights files that are needed and not here.

    Attributes
    ----------
    networks : tuple of str
        Names of the networks that need them; empty if the files are not in the catalog.
    files : tuple of WeightsFile
    kind : str
        What the files hold, such as ``ImageNet weights for size 160``.
    bytes, fetch_bytes : int
        Size of the files, and of all that ``weights fetch`` would download.
    arguments : str
        Of ``weights fetch``.
    sizes : tuple of int
        Image sizes for which weights of the same network are here.
    instead : tuple of str
        Networks whose weights are here and fit: backbones, or those with their ImageNet classes if `classifies`.
    classifies : bool
        Whether the ImageNet classes are needed.
    option : str
        Option of the command that names a backbone.
    folder : Path
        Where the files are expected.
    """

    networks: tuple[str, ...]
    files: tuple[WeightsFile, ...]
    kind: str
    bytes: int
    fetch_bytes: int
    arguments: str
    sizes: tuple[int, ...]
    instead: tuple[str, ...]
    classifies: bool
    option: str
    folder: Path

    def error(self, reason: str | None) -> WeightsError:
        """Return the error; `reason`: why they cannot be downloaded, None if that was not tried."""
        hint = [self._with_internet(reason), *self._without_internet(), self._now(), *self._places()]
        return WeightsError(self._first_line(reason), hint="\n".join(hint))

    def _first_line(self, reason: str | None) -> str:
        if reason == OFFLINE and os.environ.get(VARIABLE):
            reason = f"{OFFLINE} ({VARIABLE} is set)"
        because = "" if reason is None else f", but {reason}"
        if not self.networks:
            what = self.kind or f"weights {', '.join(file.name for file in self.files)}"
            return f"The {what} are not on this machine and need a one-time download{because}."
        several = len(self.networks) > 1
        subject = " and ".join((listed(self.networks[:-1]), self.networks[-1])) if several else self.networks[0]
        needed = f"need{'' if several else 's'} a one-time download of {_size(self.bytes)}"
        return f"{subject} {needed} ({'their' if several else 'its'} {self.kind}){because}.{self._other_sizes()}"

    def _other_sizes(self) -> str:
        if not self.sizes:
            return ""
        return f" The weights that are here are for size {' and '.join(map(str, self.sizes))}."

    def _with_internet(self, reason: str | None) -> str:
        if reason == OFFLINE:
            unset = f"unset {VARIABLE}" if os.environ.get(VARIABLE) else "leave out --offline"
            where = f"With internet, {unset}, and run"
        else:
            where = "With internet, run"
        more = abs(self.fetch_bytes - self.bytes) > _SAME * self.bytes
        total = f" ({_size(self.fetch_bytes)}, with the weights for training)" if more else ""
        return f"1. {where}: transfer-cli weights fetch {self.arguments}{total}"

    def _without_internet(self) -> tuple[str, str]:
        return (
            f"2. Without: on a machine with an internet connection, transfer-cli weights pack {self.arguments} "
            "-o weights.tar",
            "   and on this one, transfer-cli weights install weights.tar",
        )

    def _now(self) -> str:
        here = listed(self.instead, _MAX_LISTED)
        if self.classifies:
            if here:
                return f"3. Now, with the networks whose ImageNet classes are here: imagenet:NAME of {here}"
            return f"3. Now, with classes of your own: transfer-cli extract FOLDER --backbone {EMBEDDED}"
        ways = [f"--set images.size={size}" for size in self.sizes[-1:]]
        ways += [f"{self.option} {EMBEDDED} (a small network, less accurate)"]
        if here:
            ways.append(f"{self.option} NAME of a network whose weights are here: {here}")
        return f"3. Now, without a download: {'; or '.join(ways)}"

    def _places(self) -> Sequence[str]:
        return [f"Expected: {self.folder / file.name} (from {file.url})" for file in self.files]


def _size(count: int) -> str:
    """Return a number of bytes in the unit that suits it: 94 MB, 1.2 MB, 35 kB."""
    if count < 10**5:
        return f"{count / 1e3:.0f} kB"
    if count < 9.5 * 10**8:
        return f"{count / 1e6:.0f} MB" if count >= 10**6 else f"{count / 1e6:.1f} MB"
    return f"{count / 1e9:.1f} GB"
