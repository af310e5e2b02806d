"""The lines of `data check` that leave out or merge what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.audit.advice import advice
from transfer_cli.audit.check import check_free
from transfer_cli.audit.duplicates import DuplicatePair, Duplicates
from transfer_cli.audit.findings import Findings
from transfer_cli.audit.label_issues import LabelIssue
from transfer_cli.data.image_folder import ImageFile, ImageFolder
from transfer_cli.data.image_selection import ImageSelection
from transfer_cli.data.omission import Omission
from transfer_cli.errors import OutputError

FILES = (*(ImageFile(f"cat/{n}.png", ("cat",)) for n in range(20)), ImageFile("dog/0.png", ("dog",)))


def findings(folder: ImageFolder) -> Findings:
    issue = LabelIssue("cat/0.png", ("cat",), ("dog",), 0.01, True)
    pair = DuplicatePair("cat/1.png", "cat/2.png", "exact", 1.0, False)
    return Findings(folder, (), (), Duplicates((pair,), (("cat/1.png", "cat/2.png"),)), (issue,), "")


def test_advice_lines_can_be_copied() -> None:
    photos = Path("my photos")
    folder = ImageFolder(photos, FILES, ("cat", "dog"), {}, photos)
    assert advice(findings(folder), {"--class-level": "2"}, Path("checks/photos")) == [
        "to leave out images with a wrong label: keep only their rows in checks/photos/suspects.csv, then: "
        "transfer-cli extract 'my photos' --class-level 2 --omit checks/photos/suspects.csv",
        "to leave out one image of each duplicate pair, both if their labels differ: transfer-cli extract 'my photos' "
        "--class-level 2 --omit checks/photos/duplicates.csv",
        "to leave out small classes, or merge them into others: write the line from,to and a row per class into "
        "classes.csv, such as dog, (left out) or dog,OTHER_CLASS (merged), then: transfer-cli extract 'my photos' "
        "--class-level 2 --class-map classes.csv",
    ]
    with_tables = advice(findings(folder), {"--class-map": "map.csv", "--omit": "omit.csv"}, Path("ck"))
    assert with_tables[0].endswith(
        "ck/suspects.csv (and the rows of omit.csv), then: transfer-cli extract 'my photos' --class-map map.csv --omit "
        "ck/suspects.csv"
    )
    assert with_tables[2] == (
        "to leave out small classes, or merge them into others: copy map.csv to classes.csv and change what becomes "
        "dog, then: transfer-cli extract 'my photos' --class-map classes.csv --omit omit.csv"
    )


def test_advice_without_findings_is_empty() -> None:
    photos = Path("photos")
    folder = ImageFolder(photos, FILES[:20], ("cat",), {}, photos)
    assert advice(Findings(folder, (), (), Duplicates((), ()), None, "--no-probe"), {}, Path("ck")) == []


def test_check_does_not_replace_the_table_that_it_reads(tmp_path: Path) -> None:
    target = tmp_path / "check"
    target.mkdir()
    (target / "check.json").write_text("{}")
    (target / "suspects.csv").write_text("path\ncat/1.png\n")
    selection = ImageSelection(omit=Omission.read(target / "suspects.csv"))
    folder = ImageFolder(tmp_path / "photos", FILES, ("cat", "dog"), {}, tmp_path / "photos", selection=selection)
    with pytest.raises(OutputError, match=r"suspects\.csv is in .*check, which the new check would replace"):
        check_free(target, folder)
    check_free(tmp_path / "another", folder)
