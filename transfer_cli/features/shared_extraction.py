"""One extraction of features that several runs train on."""

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
from transfer_cli.features.fingerprints import Fingerprints
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.runs.run_directory import RunDirectory


@dataclass(frozen=True)
class ExtractedFolder:
    """The result of extracting the features of an image folder.

    Attributes
    ----------
    split : Split
    skipped : tuple of Skipped
    group_ids : ndarray of shape (n,), int
        Images with the same id belong to one group (see data.groups).
    features : Path
        The table of features, in a run.
    prints : Fingerprints, optional
        Of the images, in the order of the split.
    """

    split: Split
    skipped: tuple[Skipped, ...]
    group_ids: NDArray[np.int64]
    features: Path
    prints: Fingerprints | None = None


class SharedExtraction:
    """What runs with the same features share; each attribute is None until a run sets it.

    Attributes
    ----------
    network : CompiledNetwork or None
    extracted : ExtractedFolder or None
    earlier : RunDirectory or None
        A completed run of an interrupted command.
    model : Path or None
        A bundle with the network's files. Keras writes the time into its files, so only copies are equal; an ensemble
        recognises them as one network, which it runs once.
    leaked : ndarray of shape (n,), bool, or None
        Which rows of the split are held-out images with a near-duplicate among the training images.
    """

    def __init__(self, earlier: RunDirectory | None = None) -> None:
        self.network: CompiledNetwork | None = None
        self.earlier = earlier
        self.extracted: ExtractedFolder | None = None
        self.model: Path | None = None
        self.leaked: NDArray[np.bool_] | None = None

    def reuse_network_of(self, earlier: RunDirectory) -> None:
        """Use the network's files of an earlier run if its features are the same."""
        from transfer_cli.features import table

        if self.extracted is None or not earlier.features.is_file() or not earlier.model.is_dir():
            return
        before, now = table.read(earlier.features), table.read(self.extracted.features)
        if before.shape == now.shape and np.allclose(before, now, rtol=1e-4, atol=1e-5):
            self.model = earlier.model

    def save_network(self, network: CompiledNetwork, keras_file: Path, graph_file: Path) -> None:
        """Write the network and its graph, or link to files written before."""
        if self.model is None:
            network.save(keras_file, graph_file)
            return
        link(self.model / keras_file.name, keras_file)
        if (self.model / GRAPH_FILE).is_file():
            link(self.model / GRAPH_FILE, graph_file)


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    with suppress(OSError):
        target.hardlink_to(source)
        return
    shutil.copyfile(source, target)
