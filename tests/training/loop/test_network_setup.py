"""A recipe is checked against the layers of its backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetuning import run_on
from tests.stage_training import RecordingProgress


@pytest.mark.integration
def test_build_network_stage_begins_inside_a_block_warns(colours: Path, tmp_path: Path) -> None:
    progress = RecordingProgress()
    overrides = ("backbone.name=mobilenet_v2@0.35", "stage.1.unfreeze=from:block_15_project", "stage.1.epochs=1")
    run_on(colours, tmp_path / "run", *overrides, "split.val=0.2", progress=progress)
    (warning,) = [line for line in progress.warnings if "inside a block" in line]
    assert warning.endswith("--set stage.1.unfreeze=from:block_15_expand")
