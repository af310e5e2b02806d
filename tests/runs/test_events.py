"""The log of a run: whole lines, whatever a killed process left."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.errors import RunError
from transfer_cli.runs.events import append_event, drop_torn_line, read_events


def test_append_event_after_a_torn_line_keeps_all_lines_readable(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == []
    append_event(path, "begin", folder="a\u2028b")
    path.write_text(path.read_text() + '{"event": "ep')
    drop_torn_line(path)
    append_event(path, "end")
    assert [(event["event"], event.get("folder")) for event in read_events(path)] == [
        ("begin", "a\u2028b"),
        ("end", None),
    ]


def test_read_events_of_a_damaged_log_raises(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("no JSON\n")
    with pytest.raises(RunError, match="cannot be read"):
        read_events(path)
