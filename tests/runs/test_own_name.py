"""A second run with other settings gets another name; one with the same settings is found again."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.errors import RunConflictError, RunError
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs import lock
from transfer_cli.runs.own_name import with_own_name
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.runs.run_directory import RunDirectory


class Messages:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note

    @contextmanager
    def track(self, description: str, total: int | None) -> Any:
        yield lambda count: None


@pytest.fixture
def request_(colours: Path, tmp_path: Path) -> TrainingRequest:
    command = ["transfer-cli", "extract", "colours"]
    return TrainingRequest(
        ImageFolder.scan(colours), RunDirectory(tmp_path / "runs" / "a"), command=command, progress=Messages()
    )


def claimed(request: TrainingRequest, seed: int, *, complete: bool = True) -> Path:
    """Claim a run as a training does, without training; return where it is."""
    recipe = ExtractRecipe.load(settings={"backbone.name": "embedded", "seed": seed})

    def start(own: TrainingRequest) -> Path:
        own.run.claim(recipe, own.folder.source, command=own.command, overwrite=own.overwrite)
        lock.release(own.run.path)
        own.progress.note(f"training in {own.run.path.name}")
        if complete:
            own.run.metrics.write_text("{}")
        return own.run.path

    return with_own_name(request, start)


def lines_of(request: TrainingRequest) -> list[str]:
    return request.progress.lines  # type: ignore[attr-defined, no-any-return]


def test_other_settings_get_the_next_name_in_one_line(request_: TrainingRequest) -> None:
    first, second, third = (claimed(request_, seed) for seed in (0, 1, 2))
    assert [path.name for path in (first, second, third)] == ["a", "a-2", "a-3"]
    assert lines_of(request_) == [
        "training in a",
        f"{first} holds another run (--seed is 0 there and 1 here); this one is {second}",
        "training in a-2",
        f"{first} holds another run (--seed is 0 there and 2 here); this one is {third}",
        "training in a-3",
    ]


def test_same_settings_find_their_run_again(request_: TrainingRequest) -> None:
    claimed(request_, 0)
    second = claimed(request_, 1)
    assert claimed(request_, 1) == second
    # Also if the first name is free again.
    request_.run.path.rename(request_.run.path.with_name("elsewhere"))
    assert claimed(request_, 1) == second
    assert claimed(request_, 5) == request_.run.path


def test_place_of_something_else_is_left_alone(request_: TrainingRequest) -> None:
    request_.run.path.mkdir(parents=True)
    (request_.run.path / "mine.txt").touch()
    request_.run.path.with_name("a-2").touch()
    request_.run.path.with_name("a-x").touch()
    assert claimed(request_, 0).name == "a-3"
    assert lines_of(request_)[0].endswith("(it holds other files); this one is " + str(request_.run.path) + "-3")


def test_run_that_another_process_writes(request_: TrainingRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = claimed(request_, 0)
    monkeypatch.setattr(lock, "is_busy", lambda path: path == first)
    assert claimed(request_, 1).name == "a-2"
    with pytest.raises(RunError, match="Another process is writing the run") as caught:
        claimed(request_, 0)
    assert not isinstance(caught.value, RunConflictError)


def test_overwrite_replaces_the_run_of_the_same_command(request_: TrainingRequest) -> None:
    claimed(request_, 0)
    seeded = replace(request_, command=[*request_.command, "--seed", "1"])
    second = claimed(seeded, 1)
    again = replace(seeded, overwrite=True, command=[*seeded.command, "--overwrite"])
    assert claimed(again, 1) == second
    assert lines_of(request_)[-2:] == [f"{second} was made by this command, and is replaced", "training in a-2"]
    assert claimed(replace(again, command=["transfer-cli", "extract", "colours", "--overwrite"]), 3).name == "a"


def test_many_differences_are_cut(request_: TrainingRequest) -> None:
    claimed(request_, 0)
    other = ExtractRecipe.load(None, ["batch_size=8", "images.size=48"], {"backbone.weights": "none", "seed": 4})

    def start(own: TrainingRequest) -> None:
        own.run.check_free(other, own.folder.source)

    with_own_name(request_, start)
    assert lines_of(request_)[-1].count(";") == 4
    assert "more differences); this one is" in lines_of(request_)[-1]
