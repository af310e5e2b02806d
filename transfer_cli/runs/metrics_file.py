"""Check the content of metrics.json before anything is computed from it: a run may come from another person."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from typing import Any

from transfer_cli.data.split_assignment import PARTS
from transfer_cli.metrics.scores import COPIES, WITHOUT_COPIES

_NEEDED = {
    "mean_average_precision": ("images", "macro_f1", "micro_f1", "exact_matches", "log_loss"),
    "accuracy": ("images", "log_loss"),
}
"""Metrics that are shown beside each headline."""
_NUMBERS = {"value", "low", "high"}


def check_metrics(metrics: Any, scored: Collection[str]) -> dict[str, Any]:
    """Return metrics as this program writes them, ``{part: {metric: {value, low, high}}}``.

    Parameters
    ----------
    metrics : object
        The content of metrics.json.
    scored : collection of str
        Parts of the split that have predictions, and so must have metrics.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not isinstance(metrics, dict):
        raise ValueError(f"expected an object of metrics by part. Received: {_kind(metrics)}")
    if missing := [part for part in scored if part not in metrics]:
        raise ValueError(f"it has no metrics of {missing[0]}, which has predictions")
    for part in PARTS:
        if part in metrics:
            _check_part(part, metrics[part])
    return metrics


def _check_part(part: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{part}: expected an object of metrics. Received: {_kind(values)}")
    headline = next((name for name in _NEEDED if name in values), None)
    if headline is None:
        raise ValueError(f"{part}: expected {' or '.join(_NEEDED)} among its metrics")
    for name in (*_NEEDED[headline], *((headline + WITHOUT_COPIES,) if COPIES in values else ())):
        if name not in values:
            raise ValueError(f"{part}: expected {name} among its metrics")
    for name, value in values.items():
        if not _is_metric(value):
            shown = ascii(name)[:80]
            raise ValueError(f"{part}: expected value, low and high of {shown} as numbers. Received: {_kind(value)}")
    for name in ("images", COPIES):
        count = values.get(name, {"value": 0})["value"]
        if not _is_number(count) or count < 0:
            raise ValueError(f"{part}: expected the number of {name}. Received: {_kind(count)}")


def _is_metric(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() >= _NUMBERS or not isinstance(value.get("reason", ""), str):
        return False
    return all(value[each] is None or _is_number(value[each]) for each in _NUMBERS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)


def _kind(value: object) -> str:
    return ascii(value)[:80]
