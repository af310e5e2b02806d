"""The output folder of `data check`: tables, and a page with thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transfer_cli.audit.findings import Findings
from transfer_cli.io.atomic import atomic_write
from transfer_cli.rendering.html import render
from transfer_cli.rendering.thumbnails import thumbnails

_SHOWN = 60
"""Images or pairs per section; the tables beside the page hold all of them."""


def write_check(findings: Findings, target: Path, advice: Sequence[str] = ()) -> None:
    """Write the output folder of a check, whole or not at all; an earlier check there is replaced."""
    with atomic_write(target) as draft:
        draft.mkdir(parents=True)
        findings.write(draft)
        write_page(findings, draft / "check.html", advice)


def write_page(findings: Findings, path: Path, advice: Sequence[str] = ()) -> None:
    """Write the page; `advice` are further lines on what to type."""
    issues = findings.confident_label_issues()[:_SHOWN]
    across = {id(pair) for pairs in findings.pairs_across() for pair in pairs}
    # Pairs with different labels or in different splits matter most.
    pairs = sorted(findings.duplicates.pairs, key=lambda pair: id(pair) not in across)[:_SHOWN]
    quality = findings.quality_issues[:_SHOWN]
    shown = [item.path for item in issues] + [item.path for item in quality]
    shown += [path for pair in pairs for path in (pair.path_a, pair.path_b)]
    render(
        "transfer_cli.audit",
        "check.html",
        path,
        findings=findings,
        advice=advice,
        label_issues=issues,
        pairs=pairs,
        quality_issues=quality,
        skipped=findings.skipped[:_SHOWN],
        files={file.path: file for file in findings.folder.files},
        thumbnails=thumbnails(shown, findings.folder.root, bit_depth=findings.bit_depth),
    )
