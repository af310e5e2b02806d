"""After a power cut at any moment a file or folder is the earlier one or the new one, never an empty one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_evaluate import call
from tests.conftest import TINY_WORDS
from tests.power_cut import recorded
from transfer_cli.bundle.bundle import ModelBundle
from transfer_cli.io import atomic
from transfer_cli.io.atomic import atomic_write, copy_file, write_text
from transfer_cli.runs.run_directory import RunDirectory

FILES = {"bundle.json": "{}", "network.keras": "weights" * 999, "member-01/linear.npz": "numbers"}


def write_folder(target: Path) -> None:
    with atomic_write(target) as draft:
        for name, text in FILES.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(text)


def faults(disk_of: Callable[[Path], None], whole: Callable[[Path], bool], tmp_path: Path) -> list[str]:
    """Return the cuts after which a folder is not whole."""
    with recorded(tmp_path / "disk") as disk:
        disk_of(tmp_path / "disk")
        assert len(disk.cuts) > 1
        left = {
            f"{cut}, {at_once}": disk.after_cut(cut, tmp_path / f"{cut}-{at_once}", names_at_once=at_once)
            for cut in range(len(disk.cuts))
            for at_once in (True, False)
        }
        return [name for name, folder in left.items() if not whole(folder)]


def is_whole_folder(left: Path) -> bool:
    model = left / "deep/model"
    return not model.exists() or all(
        (model / name).is_file() and (model / name).read_text() == text for name, text in FILES.items()
    )


def test_folder_is_whole_or_missing_after_a_power_cut(tmp_path: Path) -> None:
    assert faults(lambda disk: write_folder(disk / "deep/model"), is_whole_folder, tmp_path) == []


def test_folder_that_is_not_flushed_is_found_by_the_same_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "flush_all", lambda path: None)
    assert faults(lambda disk: write_folder(disk / "deep/model"), is_whole_folder, tmp_path) != []


def test_file_in_new_folders_is_there_after_the_last_flush(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("copied")
    with recorded(tmp_path / "disk") as disk:
        write_text(tmp_path / "disk/runs/first/recipe.toml", "seed = 0\n")
        copy_file(tmp_path / "source", tmp_path / "disk/runs/first/history.csv")
        left = disk.after_cut(-1, tmp_path / "left", names_at_once=False)
    assert (left / "runs/first/recipe.toml").read_text() == "seed = 0\n"
    assert (left / "runs/first/history.csv").read_text() == "copied"


@pytest.mark.parametrize("exchanges", [True, False])
def test_folder_that_replaces_another_is_the_one_or_the_other(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)

    def replace(disk: Path) -> None:
        for text in ("earlier", "later"):
            with atomic_write(disk / "model") as draft:
                draft.mkdir()
                (draft / "bundle.json").write_text(text)
        assert [path.name for path in disk.iterdir()] == ["model"]

    def is_one(left: Path) -> bool:
        folders = [left / "model", *left.glob(".model.*.old")]
        texts = [(folder / "bundle.json").read_text() for folder in folders if folder.exists()]
        return all(text in ("earlier", "later") for text in texts)

    assert faults(replace, is_one, tmp_path) == []


@pytest.mark.integration
def test_extract_after_a_power_cut_is_never_complete_without_its_model(colours: Path, tmp_path: Path) -> None:
    with recorded(tmp_path / "disk") as disk:
        assert call("extract", colours, *TINY_WORDS, "-o", tmp_path / "disk/run")[0] == 0
        last = len(disk.cuts) - 1
        cuts = {*range(0, last, max(1, last // 10)), last}
        left = [
            (cut, RunDirectory(disk.after_cut(cut, tmp_path / f"{cut}-{at_once}", names_at_once=at_once) / "run"))
            for cut in cuts
            for at_once in (True, False)
        ]
    for cut, run in left:
        complete = run.is_complete(with_model=True, with_features=True)
        assert complete == (cut == last) or cut >= last - 2
        if complete or run.model.exists():
            ModelBundle.open(run.model)
        files = [path for path in run.path.glob("[a-z]*") if path.is_file() and path != run.events]
        assert [path for path in files if not path.stat().st_size] == []
