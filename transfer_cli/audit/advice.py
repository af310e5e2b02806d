"""What to type to leave out or merge what `data check` found, without changing the image folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transfer_cli.audit.findings import Findings
from transfer_cli.catalog.classifiers import NONE
from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.text import shell_command


def advice(findings: Findings, options: Mapping[str, str], directory: Path) -> list[str]:
    """Return lines for the user, each with a command that can be copied as it is.

    Parameters
    ----------
    findings : Findings
    options : mapping of str to str
        The options by which the folder was read, such as ``--class-level``.
    directory : Path
        The folder of the tables.
    """

    def command(option: str, path: Path) -> str:
        given = options if findings.folder.is_labelled else {**options, "--classifier": NONE}
        words = [word for pair in ({**given, option: str(path)}).items() for word in pair]
        return shell_command(*["transfer-cli", "extract", str(findings.folder.source), *words])

    more = f" (and the rows of {options['--omit']})" if "--omit" in options else ""
    labels = ", both if their labels differ" if findings.folder.is_labelled else ""
    lines = []
    if findings.confident_label_issues():
        path = directory / "suspects.csv"
        lines.append(
            f"to leave out images with a wrong label: keep only their rows in {path}{more}, then: "
            f"{command('--omit', path)}"
        )
    if findings.duplicates.pairs:
        path = directory / "duplicates.csv"
        lines.append(f"to leave out one image of each duplicate pair{labels}{more}: {command('--omit', path)}")
    if small := findings.small_classes():
        smallest = min(small, key=lambda name: (small[name], name))
        lines.append(
            f"to leave out small classes, or merge them into others: {_how(smallest, options)}, then: "
            f"{command('--class-map', Path('classes.csv'))}"
        )
    return lines


def _how(smallest: str, options: Mapping[str, str]) -> str:
    """Return how to write a class map, with the smallest class as the example."""
    if "--class-map" in options:
        return f"copy {options['--class-map']} to classes.csv and change what becomes {smallest}"
    row = csv_bytes([(smallest, "")]).decode("utf-8", "surrogateescape").strip()
    return (
        f"write the line from,to and a row per class into classes.csv, such as {row} (left out) or {row}OTHER_CLASS "
        "(merged)"
    )
