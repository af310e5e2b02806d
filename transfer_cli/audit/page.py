"""The findings of a check, written as files and as a page with small pictures."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.audit.check import Findings, summary
from transfer_cli.io.atomic import written_whole
from transfer_cli.rendering.html import render, thumbnails

_SHOWN = 60
"""Of each list: enough to see what it is about; all of it is in the tables beside the page."""


def write_check(findings: Findings, target: Path) -> None:
    """Write the directory of a check, whole or not at all; an earlier check there is replaced."""
    with written_whole(target) as draft:
        draft.mkdir(parents=True)
        findings.write(draft)
        write_page(findings, draft / "check.html")


def write_page(findings: Findings, path: Path) -> None:
    """Write the page."""
    sure = findings.worth_a_look()
    suspects = sure[:_SHOWN]
    across = {id(pair) for pairs in findings.across() for pair in pairs}
    # Those that matter most come first: one picture in two classes or parts.
    pairs = sorted(findings.twice.pairs, key=lambda pair: id(pair) not in across)[:_SHOWN]
    doubtful = findings.doubtful[:_SHOWN]
    shown = [item.path for item in suspects] + [item.path for item in doubtful]
    shown += [path for pair in pairs for path in (pair.path_a, pair.path_b)]
    labels = {file.path: ", ".join(file.labels) for file in findings.folder.files}
    parts = {file.path: file.part for file in findings.folder.files}
    render(
        "check.html",
        path,
        name=findings.folder.name,
        images=len(findings.folder.files),
        counts=findings.counts(),
        words=summary(findings),
        suspects=suspects,
        all_suspects=len(sure),
        pairs=pairs,
        all_pairs=len(findings.twice.pairs),
        doubtful=doubtful,
        all_doubtful=len(findings.doubtful),
        skipped=findings.skipped[:_SHOWN],
        all_skipped=len(findings.skipped),
        labels=labels,
        parts_of=parts,
        pictures_of=thumbnails(shown, findings.folder.root),
    )
