from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from transfer_cli.errors import InputError
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.smallest_budget import require_budget, smallest_budget

EMBEDDED, LARGE = Candidate("embedded", "embedded"), Candidate("vgg16", "imagenet")


def test_smallest_budget_is_that_of_the_cheapest() -> None:
    assert smallest_budget([LARGE, EMBEDDED], 20) == smallest_budget([EMBEDDED], 20) == 15
    assert smallest_budget([LARGE], 2000) > 1000


def test_suggested_budget_is_accepted() -> None:
    with pytest.raises(InputError, match="A time budget of 2s is too small") as caught:
        require_budget(2.0, [EMBEDDED], 20)
    assert caught.value.hint == "Increase it: --time-budget 15s"
    require_budget(15.0, [EMBEDDED], 20)
    require_budget(None, [LARGE], 2000)


@pytest.mark.parametrize("command", ["rank", "auto"])
def test_commands_refuse_it_at_once(
    command: str, colours: Path, transfer_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    done = transfer_cli(command, colours, "--among", "embedded", "--time-budget", "2s")
    assert (done.code, done.out) == (3, "")
    assert "Increase it: --time-budget 15s" in done.err
    assert "starting TensorFlow (" not in done.err
    assert not [*tmp_path.iterdir()]
