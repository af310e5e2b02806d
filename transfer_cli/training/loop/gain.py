"""What a fine-tuning gained over the linear probe that it started from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from transfer_cli.calibration.fit import PartProbabilities
from transfer_cli.data.split import Split
from transfer_cli.evaluation.comparison import accuracy_drop
from transfer_cli.metrics.intervals import MetricValue, points_summary
from transfer_cli.metrics.scores import epoch_metrics
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted
from transfer_cli.training.loop.messages import MIGHT_HELP


def report_gain(
    request: TrainingRequest,
    split: Split,
    probe: Mapping[str, NDArray[np.float32]],
    outputs: Mapping[str, PartProbabilities],
) -> None:
    """Print and log the gain in accuracy over the probe, on test or else on val, with its paired interval.

    Parameters
    ----------
    request : TrainingRequest
    split : Split
    probe : mapping of str to ndarray of shape (n, k), float32
        Probabilities of the linear probe by part; none: nothing is reported.
    outputs : mapping of str to (ndarray of shape (n,), ndarray of shape (n, k))
        Rows of each part in the split, and the probabilities of the network.
    """
    part = next((name for name in ("test", "val") if name in probe and name in outputs), None)
    if part is None:
        return
    rows, probabilities = outputs[part]
    truth = split.truth()[rows]
    drop, low, high = accuracy_drop(truth, probe[part], probabilities)
    if low is None or high is None:
        gain: MetricValue = {"value": -drop / 100, "low": None, "high": None}
    else:
        gain = {"value": -drop / 100, "low": -high / 100, "high": -low / 100}
    before, after = (epoch_metrics(truth, each) for each in (probe[part], probabilities))
    request.run.log("gain", part=part, images=len(rows), accuracy=gain, before=before, after=after)
    request.progress.note(gain_summary(gain, part, len(rows)))


def gain_summary(gain: MetricValue, part: str, images: int) -> str:
    """Return one line about a gain in accuracy, as a share, over the linear probe on a number of images."""
    on = f"on {part} ({counted(images, 'image')})"
    if not gain["value"] and gain["low"] is None:
        return f"fine-tuning classifies the same images of {part} correctly as the linear probe; {MIGHT_HELP}"
    text = f"fine-tuning against the linear probe {on}: {points_summary(gain)}"
    if gain["low"] is not None and gain["low"] > 0:
        return text
    if gain["high"] is not None and gain["high"] < 0:
        return f"{text}: worse; train the probe with transfer-cli extract"
    return f"{text}: too close to tell apart"
