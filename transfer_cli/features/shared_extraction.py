"""One pass over a folder, from whose features several runs learn."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer_cli.bundle.files import GRAPH_FILE
from transfer_cli.data.skipped import Skipped
from transfer_cli.data.split import Split
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class Seen:
    """What a pass over a folder came to.

    Attributes
    ----------
    split : Split
    skipped : tuple of Skipped
    group_ids : ndarray of shape (n,), int
        The same number for relatives (see groups.kin).
    features : Path
        The table of the features, in a run.
    """

    split: Split
    skipped: tuple[Skipped, ...]
    group_ids: NDArray[np.int64]
    features: Path


class SharedExtraction:
    """What runs that learn from the same features share.

    Attributes
    ----------
    network : Prepared or None
        None until a run needed it.
    seen : Seen or None
        None until a run needed it.
    earlier : RunDirectory or None
        A complete run of an earlier command.
    model : Path or None
        A bundle that the network was written to. Keras writes the time into its files, so that only a copy is the same
        network to an ensemble, which runs it once for all members.
    """

    def __init__(self, earlier: RunDirectory | None = None) -> None:
        self.network: CompiledNetwork | None = None
        self.earlier = earlier
        self.seen: Seen | None = None
        self.model: Path | None = None

    def go_on_from(self, earlier: RunDirectory) -> None:
        """Take the network's files from a run of an earlier command, if its network gave the same features."""
        from transfer_cli.features import table

        if self.seen is None or not earlier.features.is_file() or not earlier.model.is_dir():
            return
        before, now = table.read(earlier.features), table.read(self.seen.features)
        if before.shape == now.shape and np.allclose(before, now, rtol=1e-4, atol=1e-5):
            self.model = earlier.model

    def save_network(self, network: CompiledNetwork, keras_file: Path, graph_file: Path) -> None:
        """Write a network and its graph, or link to where they were written before."""
        if self.model is None:
            network.save(keras_file, graph_file)
            return
        link(self.model / keras_file.name, keras_file)
        if (self.model / GRAPH_FILE).is_file():
            link(self.model / GRAPH_FILE, graph_file)


def link(source: Path, target: Path) -> None:
    """Let a file be at two places: once on the disk, where the system can do that."""
    with suppress(OSError):
        target.hardlink_to(source)
        return
    shutil.copyfile(source, target)
