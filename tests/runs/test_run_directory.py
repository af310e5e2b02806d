"""The directory of a run: what claiming it removes."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.io.array_store import ArrayStore
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.run_directory import RunDirectory


def test_claim_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    run, recipe, folder = RunDirectory(tmp_path / "run"), ExtractRecipe.load(), tmp_path / "images"
    with run.releasing_lock():
        run.claim(recipe, folder)
    for name in (".features-abc", ".split.0123abcd.csv", ".hidden"):
        (run.path / name).mkdir()
    # A store that is still open leaves its folder, as a killed process does.
    with ArrayStore(run.path, memory_bytes=0) as store:
        store.array((1,), "u1")
        assert len(list(run.path.glob(".*"))) == 4
        with run.releasing_lock():
            run.claim(recipe, folder)
        assert [path.name for path in run.path.glob(".*")] == [".hidden"]
