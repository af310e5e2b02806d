"""Which networks are compared before one is trained: a backbone and the weights that it would begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from transfer_cli.catalog.backbones import EMBEDDED, IMAGENET, RANDOM, BackboneSpec, WeightsFile, find, names
from transfer_cli.errors import InputError, UnknownNameError, WeightsError
from transfer_cli.models.weights.registry import cache_folder, is_here, is_not_here, needs_no_network

KINDS = (IMAGENET, EMBEDDED, RANDOM)
_WILD = re.compile(r"[*?\[]")
_SHOWN = 5


@dataclass(frozen=True)
class Candidate:
    """A backbone with some weights.

    Attributes
    ----------
    backbone : str
        A name of the catalog.
    weights : str
        One of `KINDS`.
    """

    backbone: str
    weights: str

    @property
    def spec(self) -> BackboneSpec:
        """The row of the catalog."""
        return find(self.backbone)

    @property
    def name(self) -> str:
        """What a person calls it: the backbone, and the weights where they are not its usual ones."""
        return self.backbone if self.weights == self.spec.weights else f"{self.backbone}, weights {self.weights}"

    @property
    def words(self) -> dict[str, str]:
        """The words of a recipe that begin with it."""
        return {"backbone.name": self.backbone, "backbone.weights": self.weights}

    @property
    def parameters(self) -> int:
        """Of the network below its top, which is what a classifier of one's own keeps of it."""
        return self.spec.parameters_below_top

    @property
    def megabytes(self) -> float:
        """Size of these as float32, in MB of 10^6 bytes."""
        return self.parameters * 4 / 1e6

    @property
    def files(self) -> list[WeightsFile]:
        """The files of weights that have to be in Keras's cache."""
        return [self.spec.weights_file(top=False, size=self.spec.size)] if self.weights == IMAGENET else []

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return needs_no_network(self.spec) if self.weights == EMBEDDED else all(map(is_here, self.files))


@dataclass(frozen=True)
class Candidates:
    """What is compared.

    Attributes
    ----------
    ready : tuple of Candidate
        The cheapest first, by the multiplications for a picture.
    absent : tuple of Candidate
        Those whose weights are not here, and were not to be downloaded.
    """

    ready: tuple[Candidate, ...]
    absent: tuple[Candidate, ...]

    @classmethod
    def among(cls, patterns: Sequence[str] = (), weights: Sequence[str] = (), *, download: bool = False) -> Candidates:
        """Return the candidates that some words stand for.

        Parameters
        ----------
        patterns : sequence of str
            Names of backbones, or patterns of them such as ``mobilenet*``; all pretrained ones where there is none.
        weights : sequence of str
            Some of `KINDS`: each is taken of each backbone that has it. What each backbone usually begins with where
            there is none.
        download : bool
            Take those, too, whose weights are not on this machine.

        Raises
        ------
        UnknownNameError
            When a pattern matches no backbone, or there are no such weights.
        InputError
            When none of the backbones has the weights.
        WeightsError
            When a backbone was named whose weights are not here, or there are none at all here.
        """
        for word in weights:
            if word not in KINDS:
                raise UnknownNameError.of("kind of weights", word, KINDS, f"Expected some of {', '.join(KINDS)}.")
        named = [find(text).name for text in patterns if not _WILD.search(text)]
        found = dict.fromkeys(named)
        for text in patterns:
            found |= dict.fromkeys(_matching(text) if _WILD.search(text) else ())
        if not patterns:
            found = dict.fromkeys(name for name in names() if find(name).is_pretrained)
        every = [Candidate(name, word) for name in found for word in _weights_of(find(name), weights)]
        if not every:
            raise InputError(
                f"None of {_listed([*found])} has weights {' or '.join(weights) or 'that were learnt'}.",
                hint="To rank them as they are drawn at random: --weights none",
            )
        every.sort(key=lambda one: (one.spec.multiply_adds, one.backbone, KINDS.index(one.weights)))
        ready = tuple(one for one in every if download or one.is_here)
        if not patterns and not download:
            # Random weights there are of all: they are set beside those that are here.
            ready = tuple(one for one in ready if needs_no_network(one.spec))
        absent = tuple(one for one in every if one not in ready and one.weights != RANDOM)
        if missing := [file for one in absent if one.backbone in named for file in one.files]:
            raise _with_download(is_not_here(missing))
        if not ready:
            raise WeightsError(
                f"None of the weights of {_listed([one.backbone for one in absent])} is in {cache_folder()}.",
                hint="To have them: --download, or beforehand transfer-cli weights fetch NAME\n"
                "or, without a network, transfer-cli weights install a kit of them from another machine.",
            )
        return cls(ready, absent)


def _matching(pattern: str) -> list[str]:
    folded = pattern.replace("-", "_")
    if found := [name for name in names() if fnmatchcase(name, folded)]:
        return found
    raise UnknownNameError.of("backbone", pattern, names(), "See all names: transfer-cli backbones list")


def _weights_of(spec: BackboneSpec, request: Sequence[str]) -> list[str]:
    has = {IMAGENET: spec.has_imagenet, EMBEDDED: bool(spec.embedded), RANDOM: True}
    wanted = request or ([spec.weights] if spec.is_pretrained else [])
    return [word for word in dict.fromkeys(wanted) if has[word]]


def _with_download(error: WeightsError) -> WeightsError:
    return WeightsError(str(error), hint=f"With --download they are brought first.\n{error.hint}")


def _listed(found: Sequence[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
