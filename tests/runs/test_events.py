"""The log of a run: whole lines, whatever a killed process left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from transfer_cli import RunDirectory
from transfer_cli.errors import RunError
from transfer_cli.io.atomic import write_json


def test_log_after_a_torn_line_keeps_all_lines_readable(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_events() == []
    run.log("begin", folder="a\u2028b")
    run.events.write_text(run.events.read_text() + '{"event": "ep')
    run._drop_torn_line()
    run.log("end")
    assert [(event["event"], event.get("folder")) for event in run.read_events()] == [
        ("begin", "a\u2028b"),
        ("end", None),
    ]


def test_read_events_of_a_damaged_log_raises(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.events.write_text("no JSON\n")
    with pytest.raises(RunError, match="cannot be read"):
        run.read_events()


def test_names_that_are_not_utf8_are_valid_json(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.log("begin", folder="caf\udce9")
    assert "caf\\udce9" in run.events.read_text("utf-8")
    assert run.read_events()[0]["folder"] == "caf\udce9"
    write_json(tmp_path / "check.json", {"path": "caf\udce9"})
    assert json.loads((tmp_path / "check.json").read_text("utf-8")) == {"path": "caf\udce9"}
