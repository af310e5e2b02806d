"""What a network can be run on: Keras itself, or a runtime made for processors, from a converted graph."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

from transfer_cli.errors import MissingExtraError, UnknownNameError

AUTO = "auto"
KERAS = "keras"
LITERT = "litert"
OPENVINO = "openvino"


@dataclass(frozen=True)
class RuntimeSpec:
    """A row of the catalog.

    Attributes
    ----------
    name : str
    package : str
        The distribution whose version is the runtime's.
    module : str
        What is imported of it.
    extra : str or None
        The extra that brings it, if it does not come with the program.
    takes_graph : bool
        Whether it runs the converted graph; all that do read the same file.
    precisions : tuple of str
        In what numbers it can compute.
    """

    name: str
    package: str
    module: str
    extra: str | None
    takes_graph: bool
    precisions: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Of its package; raise MissingExtraError where that is not installed."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            raise missing(self) from None


_ROWS = (
    RuntimeSpec(KERAS, "keras", "keras", None, False, ("f32",)),
    RuntimeSpec(LITERT, "ai-edge-litert", "ai_edge_litert", None, True, ("f32",)),
    RuntimeSpec(OPENVINO, "openvino", "openvino", "openvino", True, ("f32", "bf16")),
)
_BY_NAME = {row.name: row for row in _ROWS}


def names() -> list[str]:
    """Return the names of all runtimes."""
    return list(_BY_NAME)


def find(name: str) -> RuntimeSpec:
    """Return the runtime called `name`; raise UnknownNameError where there is none."""
    if name not in _BY_NAME:
        raise UnknownNameError.of("runtime", name, names(), f"Expected one of {', '.join([AUTO, *names()])}.")
    return _BY_NAME[name]


def missing(spec: RuntimeSpec) -> MissingExtraError:
    """Return the error that says how to install a runtime."""
    wanted = f"'transfer-cli[{spec.extra}]'" if spec.extra else spec.package
    return MissingExtraError(
        f"The runtime {spec.name} needs the package {spec.package}, which is not installed.",
        hint=f"Install it: pip install {wanted}, or take --runtime keras.",
    )


FEW = 4
"""Pictures that a runtime is given at a time: their numbers stay in the processor's cache, see docs/benchmarks.md."""
