"""Class maps: how they are read, what becomes of the classes, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.catalog.tasks import SINGLE_LABEL
from transfer_cli.data.class_map import ClassMap
from transfer_cli.errors import FolderError, InputError


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "map.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("from,to\nwolf,dog\nempty,\n", "utf-8"),
        ("wolf,dog\nempty,\n", "utf-8"),
        ("empty,\nwolf,dog\n", "utf-8"),
        ("From;To\r\nwolf;dog\r\nempty;\r\n", "utf-8-sig"),
        ("from\tto\nwolf\tdog\nempty\t\n", "utf-16"),
        ("sep=;\nwolf;dog\nempty;\n", "utf-8"),
        ("note,to,from\nsure,dog,wolf\n,, empty \n", "utf-8"),
        ('"from","to",,\n"wolf","dog",,\n"empty","",,\n\n', "utf-8"),
    ],
)
def test_read_usual_tables_are_equal(tmp_path: Path, text: str, encoding: str) -> None:
    class_map = ClassMap.read(written(tmp_path, text, encoding))
    assert dict(class_map.targets) == {"wolf": "dog", "empty": ""}
    assert class_map.data == (tmp_path / "map.csv").read_bytes()


def test_read_accents_are_composed_as_in_folder_names(tmp_path: Path) -> None:
    class_map = ClassMap.read(written(tmp_path, "from,to\nmart\u0065\u0301,\u0065\u0301te\u0301\n"))
    assert dict(class_map.targets) == {"mart\u00e9": "\u00e9t\u00e9"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "wolf,dog\nfox,cat\nwolf,cat\n",
            "{path} line 3: wolf is already listed in line 1. Expected each class once.",
            "To merge several classes, write one row for each of them, with the same name in the column to.",
        ),
        (
            "wolf,dog\ndog,fox\nfox,wolf\n",
            "{path}: wolf → dog → fox → wolf is a circle. Expected a new name, or a class that keeps its name.",
            "To swap the names of classes, rename their folders, or the labels in the table of the images.",
        ),
        ("from,to\n", "{path} lists no class: {example}", None),
        ("", "{path}: {example} Received: an empty file.", None),
        ("wolf\ndog\n", "{path}: {example} Received: wolf.", None),
        ("from,into\nwolf,dog\n", "{path}: {example} Received: from, into.", None),
        ("wolf,dog,sure\n", "{path}: {example} Received: wolf, dog, sure.", None),
        ("from,to\n,dog\n", "{path} line 2: expected a class in the column from. Received: no text.", None),
    ],
)
def test_read_faults_are_refused(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    path = written(tmp_path, text)
    example = (
        "expected the columns from,to, such as the row wolf,dog (merges wolf into dog) or wolf, (leaves wolf out)."
    )
    with pytest.raises(InputError) as error:
        ClassMap.read(path)
    assert str(error.value) == message.format(path=path, example=example)
    assert error.value.hint == hint


def test_read_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: .* is not UTF-8 text"):
        ClassMap.read(written(tmp_path, "wolf,été\n", "latin-1"))


def test_labels_of_chain_is_not_followed_and_is_said(tmp_path: Path) -> None:
    class_map = ClassMap.read(written(tmp_path, "from,to\na,b\nb,c\nc,\nd,d\n"))
    assert class_map.labels_of(["a", "b", "c", "d", "e"]) == ("b", "c", "d", "e")
    path = tmp_path / "map.csv"
    assert class_map.warnings(SINGLE_LABEL) == [
        f"{path}: names are not followed further: images of a become b, and those of b become c",
        f"{path}: names are not followed further: images of b become c, and those of c are left out",
    ]
    assert class_map.summary() == "a → b; b → c; c left out"


def test_check_classes_unknown_class_gets_the_nearest_name(tmp_path: Path) -> None:
    class_map = ClassMap.read(written(tmp_path, "fox,dog\nWulf,dog\n"))
    with pytest.raises(FolderError) as error:
        class_map.check_classes(["dog", "fox", "wolf"], Path("photos"))
    assert str(error.value) == (
        f"{tmp_path / 'map.csv'} line 2: photos has no class Wulf. Did you mean wolf? Expected one of: dog, fox, wolf."
    )
    first_line = ClassMap.read(written(tmp_path, "class,new\nwolf,dog\n"))
    with pytest.raises(FolderError) as error:
        first_line.check_classes(["dog", "fox", "wolf"], Path("photos"))
    assert error.value.hint == "If line 1 is a heading, it must be: from,to"


@pytest.mark.parametrize("separator", [";", "|"])
def test_warnings_separator_in_a_new_name_is_refused(tmp_path: Path, separator: str) -> None:
    class_map = ClassMap.read(written(tmp_path, f"wolf,a{separator}b\n"))
    with pytest.raises(FolderError, match="line 1: expected one label in a cell"):
        class_map.warnings(SINGLE_LABEL)


def test_warnings_word_for_a_missing_value_is_said(tmp_path: Path) -> None:
    (line,) = ClassMap.read(written(tmp_path, "wolf,n/a\n")).warnings(SINGLE_LABEL)
    assert line.startswith("map.csv: 'n/a' (line 1) is used as a class.")


def test_summary_names_of_the_folder_only_and_merged_sources_together() -> None:
    class_map = ClassMap.of("of runs/a", {"wolf": "dog", "jackal": "dog", "empty": "", "fox": "fox"})
    assert class_map.summary() == "wolf, jackal → dog; empty left out"
    assert class_map.summary(["fox", "jackal"]) == "jackal → dog"
    assert class_map.summary(["dog"]) == ""
