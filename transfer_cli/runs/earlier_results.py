"""The results of a run that is being overwritten: kept until the new ones are complete, and restored if they fail.

They are hard links in a folder of the run. The model stays in its place as well, so that it can be used meanwhile.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from transfer_cli.io import drafts
from transfer_cli.io.atomic import flush_all, put_in_place, remove

FOLDER = ".earlier"


def exist(run: Path) -> bool:
    """Return whether results are kept."""
    return (run / FOLDER).is_dir()


def keep(run: Path, paths: Iterable[Path]) -> None:
    """Keep files and folders of a run; nothing is removed yet."""
    target, draft = run / FOLDER, _draft(run)
    drafts.enter(draft)
    try:
        draft.mkdir()
        for path in paths:
            if path.exists():
                _link(path, draft / path.name)
        # In one step: what is kept is kept whole, or not at all.
        draft.rename(target)
        flush_all(run / FOLDER)
    finally:
        remove(draft)
        drafts.leave(draft)


def restore(run: Path, results: Iterable[Path], last: str) -> None:
    """Put what is kept back in place of the `results`, `last` last; after a kill it can be done again."""
    kept = run / FOLDER
    names = {path.name for path in kept.iterdir()}
    for path in results:
        if path.name not in names or path.name == last:
            remove(path)
    for path in sorted(kept.iterdir(), key=lambda path: (path.name == last, path.name)):
        draft = _draft(run)
        drafts.enter(draft)
        try:
            _link(path, draft)
            put_in_place(draft, run / path.name)
        finally:
            remove(draft)
            drafts.leave(draft)
    forget(run)


def forget(run: Path) -> None:
    """Remove what is kept, if anything."""
    draft = _draft(run)
    drafts.enter(draft)
    # In one step: half of it must not be restored.
    with suppress(FileNotFoundError):
        (run / FOLDER).rename(draft)
    remove(draft)
    drafts.leave(draft)


def _draft(run: Path) -> Path:
    return run / f"{FOLDER}.{secrets.token_hex(4)}"


def _link(source: Path, target: Path) -> None:
    """Link a file or the files of a folder, or copy them if the file system has no hard links."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
