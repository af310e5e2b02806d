"""The log of a run: one JSON object per line, appended as things happen."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transfer_cli.errors import RunError
from transfer_cli.io.atomic import write_error, write_text


def append_event(path: Path, event: str, **values: Any) -> None:
    """Append one event; a line is written in one piece."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"event": event, "time": now, **values}, ensure_ascii=False) + "\n"
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape") as events:
            events.write(line)
    except OSError as error:
        raise write_error(error, path) from error


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return all events, or none if there is no log; raise RunError if it cannot be read."""
    if not path.is_file():
        return []
    try:
        # Not splitlines: file names may hold other characters that Python takes for the end of a line.
        lines = path.read_text("utf-8", "surrogateescape").split("\n")
        return [json.loads(line) for line in lines if line]
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="Start this run again with --overwrite.") from None


def drop_torn_line(path: Path) -> None:
    """Remove the half line that a killed process may have left at the end, so that the next line stays whole."""
    text = path.read_text("utf-8", "surrogateescape") if path.is_file() else ""
    if text and not text.endswith("\n"):
        write_text(path, text[: text.rfind("\n") + 1])
