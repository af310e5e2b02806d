"""What to type to merge or leave out classes and images of a run: values for the next steps of its diagnostics."""

from __future__ import annotations

from transfer_cli.io.csv_tables import csv_bytes
from transfer_cli.report.run_facts import RunFacts
from transfer_cli.text import shell_command

_FILE = "classes.csv"


def table_advice(facts: RunFacts) -> dict[str, str]:
    """Return the placeholders of next steps that name a class map or a list of omitted images.

    Returns
    -------
    dict of str to str
        ``folder``: the images, with the options that apply the tables of the run; ``folder_to_omit`` and
        ``folder_to_map``: without the option that the next step gives another value; ``and_omitted``: that the images
        which the run left out are to be left out again; ``merge`` and ``drop``: how to write the class map that merges
        the two most confused classes, or leaves out the smallest one.
    """
    pair, smallest = facts.most_confused(), facts.smallest_class()
    return {
        "folder": _folder(facts, facts.tables),
        "folder_to_omit": _folder(facts, _without(facts, "--omit")),
        "folder_to_map": _folder(facts, _without(facts, "--class-map")),
        "and_omitted": f" and add those of {facts.run}/omit.csv" if "--omit" in facts.tables else "",
        "merge": _class_map(facts, *pair) if pair else "",
        "drop": _class_map(facts, smallest, "") if smallest else "",
    }


def _folder(facts: RunFacts, options: tuple[str, ...]) -> str:
    return shell_command(*[facts.folder, *options])


def _without(facts: RunFacts, option: str) -> tuple[str, ...]:
    words = facts.tables
    place = words.index(option) if option in words else len(words)
    return (*words[:place], *words[place + 2 :])


def _class_map(facts: RunFacts, before: str, after: str) -> str:
    if "--class-map" in facts.tables:
        becomes = f"give {before} and all that becomes it the new name {after}" if after else f"leave {before} out"
        return f"copy {facts.run}/class_map.csv to {_FILE} and {becomes}"
    row = csv_bytes([(before, after)]).decode("utf-8", "surrogateescape").strip()
    return f"write the two lines from,to and {row} into {_FILE}{'' if after else ' (no name after the comma)'}"
