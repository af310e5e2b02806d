from __future__ import annotations

import numpy as np

from transfer_cli.features.feature_map_drawing import Tile, draw_map, thumbnail_side
from transfer_cli.features.grid_assignment import assign_to_grid
from transfer_cli.rendering.palette import class_colours


def test_draw_map_marks_wrong_predictions() -> None:
    places = assign_to_grid(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros(2, bool))
    side = thumbnail_side(places)
    grey = np.full((2, side, side, 3), 128, np.uint8)

    def colours(tiles: list[Tile]) -> set[tuple[int, ...]]:
        drawing = draw_map(places, tiles, grey, ["a", "b", "c"], ("title", "below"))
        body = np.asarray(drawing)[300:].reshape(-1, 3)
        return {tuple(colour) for colour in np.unique(body, axis=0).tolist()}

    right, wrong = [Tile(0), Tile(0)], [Tile(0), Tile(0, predicted=2)]
    assert class_colours(2)[0] in colours(wrong)
    assert class_colours(2)[0] not in colours(right)
    assert class_colours(0)[0] in colours(right)


def test_eighty_classes_have_distinct_colours() -> None:
    looks = [class_colours(number) for number in range(-1, 80)]
    assert len(set(looks)) == 81
