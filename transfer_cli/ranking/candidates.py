"""The candidates of a ranking: backbones with the weights that a training would start from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from transfer_cli.catalog.backbones import (
    EMBEDDED,
    IMAGENET,
    RANDOM,
    BackboneSpec,
    WeightsFile,
    find,
    is_network_file,
    names,
)
from transfer_cli.errors import InputError, UnknownNameError, WeightsError
from transfer_cli.models.weights.missing_weights import OFFLINE
from transfer_cli.models.weights.registry import embedded_file, has_local_weights, is_installed, missing_error
from transfer_cli.text import listed, shell_command

KINDS = (IMAGENET, EMBEDDED, RANDOM)
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Candidate:
    """A backbone with weights.

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
        """The backbone, and its weights if they are not the usual ones."""
        return self.backbone if self.weights == self.spec.weights else f"{self.backbone}, weights {self.weights}"

    @property
    def overrides(self) -> dict[str, str]:
        """The settings of a recipe that starts from this candidate."""
        return {"backbone.name": self.backbone, "backbone.weights": self.weights}

    @property
    def parameters(self) -> int:
        """Number of parameters without the classification head."""
        return self.spec.parameters_below_top

    @property
    def megabytes(self) -> float:
        """Size of the parameters as float32, in MB of 10^6 bytes."""
        return self.parameters * 4 / 1e6

    @property
    def files(self) -> list[WeightsFile]:
        """The weights files that must be in the cache of Keras."""
        return [self.spec.weights_file(top=False, size=self.spec.size)] if self.weights == IMAGENET else []

    @property
    def is_installed(self) -> bool:
        """Whether its weights are on this machine."""
        return has_local_weights(self.spec) if self.weights == EMBEDDED else all(map(is_installed, self.files))


@dataclass(frozen=True)
class Candidates:
    """The candidates to compare.

    Attributes
    ----------
    available : tuple of Candidate
        Ascending by the number of multiplications per image.
    missing : tuple of Candidate
        Those whose weights are not on this machine and are not to be downloaded.
    """

    available: tuple[Candidate, ...]
    missing: tuple[Candidate, ...]

    @classmethod
    def select(
        cls,
        patterns: Sequence[str] = (),
        weights: Sequence[str] = (),
        *,
        download: bool = False,
        offline: bool = False,
    ) -> Candidates:
        """Return the candidates that match some patterns.

        Parameters
        ----------
        patterns : sequence of str
            Names of backbones, or patterns such as ``mobilenet*``. [all pretrained ones]
        weights : sequence of str
            Some of `KINDS`; each backbone is tried with each of these weights that it has. [its usual weights]
        download : bool
            Include candidates whose weights are not on this machine.
        offline : bool
            Never download: `download` has no effect.

        Raises
        ------
        UnknownNameError
            When a pattern matches no backbone, or the kind of weights is unknown.
        InputError
            When none of the backbones has these weights.
        WeightsError
            When the weights of a backbone given by name, or of all backbones, are not on this machine.
        """
        for kind in weights:
            if kind not in KINDS:
                raise UnknownNameError.of("kind of weights", kind, KINDS, f"Expected some of {', '.join(KINDS)}.")
        if paths := [text for text in patterns if is_network_file(text) and not _WILDCARD.search(text)]:
            raise UnknownNameError(
                "Only networks of the catalog are compared, since a file also needs its --preprocess. Received: "
                f"{paths[0]}.",
                hint=f"Train on it: transfer-cli extract FOLDER --backbone {shell_command(paths[0])} --preprocess ...\n"
                "and compare its run with that of another network: transfer-cli compare RUN RUN",
            )
        named = [find(text).name for text in patterns if not _WILDCARD.search(text)]
        matching = [name for text in patterns if _WILDCARD.search(text) for name in _matching(text)]
        pretrained = [name for name in names() if find(name).is_pretrained and not patterns]
        selected = dict.fromkeys([*named, *matching, *pretrained])
        every = [Candidate(name, kind) for name in selected for kind in _weights_of(find(name), weights)]
        if not every:
            raise InputError(
                f"None of {listed([*selected])} has {' or '.join(weights) or 'pretrained'} weights.",
                hint="To rank them with random weights: --weights none",
            )
        download = download and not offline
        every.sort(key=lambda one: (one.spec.multiply_adds, one.backbone, KINDS.index(one.weights)))
        available = tuple(one for one in every if download or one.is_installed)
        if not patterns and not download:
            # Every backbone has random weights: try only those that are also installed with pretrained weights.
            available = tuple(one for one in available if has_local_weights(one.spec))
        missing = tuple(one for one in every if one not in available and one.weights != RANDOM)
        if lacking := [one for one in missing if one.backbone in named]:
            raise _missing_error(lacking, offline=offline)
        if not available:
            smallest = _missing_error([min(missing, key=lambda one: one.megabytes)], offline=offline)
            listed_names = listed([one.backbone for one in missing])
            raise WeightsError(f"No weights of {listed_names} are here. {smallest}", hint=smallest.hint)
        return cls(available, missing)


def _missing_error(lacking: Sequence[Candidate], *, offline: bool) -> WeightsError:
    """Return the error for candidates whose weights are not here."""
    files = [file for one in lacking for file in one.files]
    if not files:
        embedded_file(lacking[0].spec)
    error = missing_error(files, OFFLINE if offline else None, option="--among")
    first = "" if offline else "To download them first, add --download. Or:\n"
    return WeightsError(str(error), hint=f"{first}{error.hint}")


def _matching(pattern: str) -> list[str]:
    folded = pattern.replace("-", "_")
    if matches := [name for name in names() if fnmatchcase(name, folded)]:
        return matches
    raise UnknownNameError.of("backbone", pattern, names(), "See all names: transfer-cli backbones list")


def _weights_of(spec: BackboneSpec, requested: Sequence[str]) -> list[str]:
    if spec.is_handcrafted:
        return [RANDOM]
    has = {IMAGENET: spec.has_imagenet, EMBEDDED: bool(spec.embedded), RANDOM: True}
    wanted = requested or ([spec.weights] if spec.is_pretrained else [])
    return [kind for kind in dict.fromkeys(wanted) if has[kind]]
