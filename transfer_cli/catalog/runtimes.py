"""Runtimes that run a network: Keras itself, or a CPU runtime that runs a converted graph."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

from transfer_cli.catalog.lookup import lookup
from transfer_cli.errors import MissingExtraError

AUTO = "auto"
KERAS = "keras"
LITERT = "litert"
OPENVINO = "openvino"


@dataclass(frozen=True)
class RuntimeSpec:
    """A runtime.

    Attributes
    ----------
    name : str
    package : str
        Distribution on PyPI; its version is that of the runtime.
    module : str
        Module to import.
    extra : str or None
        The extra that installs it, None if it is always installed.
    runs_converted_graph : bool
        Whether it runs the converted graph (the same file for all such runtimes).
    precisions : tuple of str
        Supported number formats.
    """

    name: str
    package: str
    module: str
    extra: str | None
    runs_converted_graph: bool
    precisions: tuple[str, ...]

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Version of its package; raise MissingExtraError if it is not installed."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            raise missing_package_error(self) from None


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
    """Return the runtime called `name`; raise UnknownNameError if there is none."""
    return lookup(_BY_NAME, "runtime", name, f"Expected one of {', '.join([AUTO, *names()])}.")


def missing_package_error(spec: RuntimeSpec) -> MissingExtraError:
    """Return an error with the command that installs a runtime."""
    wanted = f"'transfer-cli[{spec.extra}]'" if spec.extra else spec.package
    return MissingExtraError(
        f"The runtime {spec.name} needs the package {spec.package}, which is not installed.",
        hint=f"Install it: pip install {wanted}, or use --runtime keras.",
    )


RUNTIME_BATCH = 4
"""Images per call of a runtime: their activations stay in the CPU cache, see docs/benchmarks.md."""
