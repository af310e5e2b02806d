from __future__ import annotations

import numpy as np
import pytest

from transfer_cli.features import grid_assignment
from transfer_cli.features.grid_assignment import assign_to_grid


@pytest.mark.parametrize(("count", "cells"), [(1, 2500), (5, 2500), (200, 2500), (200, 150)])
def test_assign_to_grid_gives_each_image_its_own_cell(count: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_assignment, "MAX_CELLS", cells)
    points = np.random.default_rng(4).normal(size=(count, 2)) * (3, 1)
    first = np.arange(count) % 10 == 0
    found = assign_to_grid(points, first)
    assert len({tuple(cell) for cell in found.cells.tolist()}) == len(found.members) <= found.columns * found.rows
    assert (found.cells >= 0).all()
    assert (found.cells < (found.columns, found.rows)).all()
    room = int(grid_assignment.MAX_FILLED * found.columns * found.rows)
    assert len(found.members) == min(count, max(room, 1)) or len(found.members) == count
    if count > room > 0:
        # Thinned out, but few of the points to keep are left out.
        assert len(found.members) == room
        assert first[found.members].sum() / first.sum() > 1.3 * len(found.members) / count
    if count == 200:
        across = np.corrcoef(points[found.members, 0], found.cells[:, 0])[0, 1]
        assert across > 0.9
