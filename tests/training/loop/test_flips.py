"""Mirror images augment the training only where cross-validation shows no loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY_SIZE
from tests.finetuning import run_on
from tests.stage_training import RecordingProgress
from transfer_cli.training.loop import flips

SETTINGS = ("split.val=0.2", "refit.when=never", "stage.1.epochs=1", "augmentation.horizontal_flip=auto")


@pytest.fixture(scope="module")
def ramps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the planted fault: two classes of images that are each other's mirror images."""
    root, random = tmp_path_factory.mktemp("ramps"), np.random.default_rng(3)
    ramp = np.tile(np.linspace(40, 215, TINY_SIZE), (TINY_SIZE, 1))
    for name, image in {"brighter": ramp, "darker": ramp[:, ::-1]}.items():
        (root / name).mkdir()
        for number in range(30):
            noisy = image[..., None] + random.normal(0, 4, (TINY_SIZE, TINY_SIZE, 3))
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(root / name / f"{name}_{number:02}.png")
    return root


def flips_of(run: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "flips"]
    return event


@pytest.mark.integration
@pytest.mark.parametrize(("name", "used"), [("colours", True), ("ramps", False)])
def test_flips_are_used_where_they_do_no_harm(
    name: str,
    used: bool,
    weights: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress, trained_with = RecordingProgress(), []
    choose = flips.with_chosen_flips

    def recording(*arguments: Any) -> Any:
        context = choose(*arguments)
        trained_with.append(context.recipe.augmentation.horizontal_flip)
        return context

    monkeypatch.setattr(flips, "with_chosen_flips", recording)
    folder: Path = request.getfixturevalue(name)
    run_on(folder, tmp_path / "run", f"backbone.weights={weights}", *SETTINGS, progress=progress)
    event = flips_of(tmp_path / "run")
    assert (event["used"], trained_with) == (used, [used])
    assert used or event["log_loss_with_flips"] > event["log_loss"]
    words = "augmentation flips images left-right" if used else "augmentation flips no images"
    assert [line for line in progress.notes if line.startswith(words)]


def test_a_fixed_setting_is_not_questioned(colours: Path, weights: Path, tmp_path: Path) -> None:
    run_on(
        colours, tmp_path / "run", f"backbone.weights={weights}", *SETTINGS[:-1], "augmentation.horizontal_flip=true"
    )
    assert '"flips"' not in (tmp_path / "run/events.jsonl").read_text()
