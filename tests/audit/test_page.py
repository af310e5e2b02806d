from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import chromium, show
from transfer_cli import ImageFolder
from transfer_cli.audit.duplicates import Duplicates
from transfer_cli.audit.findings import Findings
from transfer_cli.audit.label_issues import LabelIssue
from transfer_cli.audit.page import write_page


@pytest.mark.integration
def test_write_page_grid_fills_the_width(colours: Path, tmp_path: Path) -> None:
    images = ImageFolder.scan(colours)
    issues = tuple(LabelIssue(file.path, file.labels, ("red",), 0.1, file.path[0] != "g") for file in images.files)
    findings = Findings(images, (), (), Duplicates((), ()), issues, "")
    assert findings.to_dict()["label_issues"] == 36
    assert findings.to_dict()["confident_label_issues"] == 24
    page = tmp_path / "check.html"
    write_page(findings, page)
    with chromium(tmp_path / "profile") as browser:
        for width, columns in ((1280, 6), (390, 2)):
            show(browser, page, width)
            lefts, right = browser.execute_script(
                "const section = document.querySelector('#label-issues'), whole = section.getBoundingClientRect();"
                "const all = [...section.querySelectorAll('.found li')].map(e => e.getBoundingClientRect());"
                "return [all.map(e => e.left), whole.right - Math.max(...all.map(e => e.right))]"
            )
            assert len(lefts) == 24
            assert len(set(lefts)) == columns
            assert lefts == lefts[:columns] * (24 // columns)
            assert abs(right) < 1
