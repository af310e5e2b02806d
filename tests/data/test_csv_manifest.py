"""CSV manifests: accepted content and messages about errors."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from transfer_cli.catalog.tasks import MULTI_LABEL, SINGLE_LABEL
from transfer_cli.data.image_folder import ImageFolder
from transfer_cli.data.split import Split
from transfer_cli.data.table_columns import TableOptions, part_named
from transfer_cli.errors import FolderError, InputError


def test_scan_corrected_predictions_leaves_out_unknown(images: Path) -> None:
    header = "path,label,confidence,guess,reason,p_cat,p_dog\n"
    rows = "0.png,cat,0.9,cat,,0.9,0.1\n1.png,unknown,0.6,dog,unsure,0.4,0.6\n2.png,dog,0.5,cat,unsure,0.5,0.5\n"
    folder = ImageFolder.scan(listed(images, header + rows, "predictions.csv"))
    assert [(file.path, file.labels) for file in folder.files] == [("0.png", ("cat",)), ("2.png", ("dog",))]
    assert folder.left_out["labelled `unknown`"] == 1


def test_scan_own_class_unknown_is_kept(images: Path) -> None:
    """Planted fault: a class of this name in a table of a person is a class."""
    folder = ImageFolder.scan(listed(images, "path,label\n0.png,cat\n1.png,unknown\n"))
    assert folder.class_names == ("cat", "unknown")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with eight images, two of them in a sub-folder."""
    for number in range(8):
        path = tmp_path / "images" / ("deep" if number > 5 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 30, 0, 0)).save(path)
    return tmp_path / "images"


def listed(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_scan_csv_with_label_column_is_single_label(images: Path) -> None:
    table = listed(images, "path,label,split\n1.png,dog,Training\n./0.png, cat ,\ndeep/7.png,dog,test\n2.png,,\n")
    for source in (table, images):
        folder = ImageFolder.scan(source)
        assert folder.task == SINGLE_LABEL
        assert [(file.path, file.labels, file.part) for file in folder.files] == [
            ("0.png", ("cat",), None),
            ("1.png", ("dog",), "train"),
            ("deep/7.png", ("dog",), "test"),
        ]
        assert folder.root == images
    assert folder.left_out == {"images that labels.csv does not list": 5, "without a label": 1}
    assert folder.name == "images"
    assert ImageFolder.scan(table).name == "labels"
    assert ImageFolder.scan(table).left_out == {"without a label": 1}


def test_scan_csv_with_labels_column_is_multi_label(images: Path) -> None:
    listed(images, "path,labels\n0.png,b; a;b\n1.png,\n2.png,10\ndeep\\6.png,2;a\n")
    folder = ImageFolder.scan(images)
    assert folder.task == MULTI_LABEL
    assert folder.class_names == ("2", "10", "a", "b")
    assert [file.labels for file in folder.files] == [("b", "a"), (), ("10",), ("2", "a")]
    assert folder.files[3].path == "deep/6.png"
    assert folder.summary() == "4 images, 4 labels (any number per image): 2 1, 10 1, a 2, b 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,labels\n0.png,a,b\n", "expected the columns path,label .or path,labels .* Received: path, label,"),
        ("id,label\n0.png,a\n", "Received: id, label"),
        ("id;breed\n0.png;a\n", "Received: id, breed"),
        ("", "Received: an empty file"),
        ("path,label\n", "lists 0 images"),
        ("path,label,label\n0.png,a,b\n", "each once. Received: path, label, label"),
        ("path,label\ndeep/6.png,a\ndeep//6.png,b\n", "line 3: deep/6.png is already listed"),
        ("path,label\ndeep/6.png,a\nother/../deep/6.png,b\n", "line 3: deep/6.png is already listed"),
        ("path,label\n0.png,a\n0.png,b\n", "line 3: 0.png is already listed in line 2"),
        (
            "path,label,split\n0.png,a,exam\n",
            "line 2: expected train, val, test or an empty cell in the column split.* 'exam'",
        ),
        ("path,label\n ,a\n", "line 2: expected the path of an image"),
        (
            "path,label\nno/0.png,a\nno/1.png,b\n",
            "none of them exists. Expected .* Received: no/0.png",
        ),
        ("path,label\n0.png,a\n1.png,a\n", "has 1 class. Expected at least two classes"),
        ("path,label,split\n0.png,a,train\n1.png,b,test\n", "classes without training images: b"),
    ],
)
def test_scan_invalid_csv_names_the_error(images: Path, text: str, message: str) -> None:
    with pytest.raises(FolderError, match=message):
        ImageFolder.scan(listed(images, text))


def test_scan_image_file_is_refused(images: Path) -> None:
    with pytest.raises(FolderError, match=r"is a file\. .* Or a CSV file with the columns path,label"):
        ImageFolder.scan(images / "0.png")


def test_split_multi_label_is_read_as_written(tmp_path: Path, images: Path) -> None:
    rows = "".join(f"{'deep/' if n > 5 else ''}{n}.png,{'a;' * (n % 2)}{'b' if n % 3 else ''}\n" for n in range(8))
    listed(images, f"path,labels\n{rows}")
    folder = ImageFolder.scan(images)
    digests = [f"{number:064x}" for number in range(8)]
    split = Split.make(folder.files, digests, test=0.3, val=0.0, task=folder.task)
    split.write(tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().startswith("path,sha256,labels,split\n0.png,")
    again = Split.read(tmp_path / "split.csv")
    assert (again.rows, again.task) == (split.rows, MULTI_LABEL)
    assert again.truth().tolist() == [[n % 2, int(n % 3 > 0)] for n in range(8)]
    assert split.training_counts() == {
        name: sum(name in row.labels for row in split.rows if row.part == "train") for name in ("a", "b")
    }


def test_split_multi_label_has_every_label_in_every_part() -> None:
    from transfer_cli.data.image_folder import ImageFile

    # Only two images have the rare label, and one of them has the common label, too.
    labels = [("common",)] * 18 + [("common", "rare"), ("rare",)]
    files = [ImageFile(f"{number}.png", each) for number, each in enumerate(labels)]
    digests = [f"{number:064x}" for number in range(20)]
    for seed in range(20):
        split = Split.make(files, digests, test=0.2, val=0.0, seed=seed, task=MULTI_LABEL)
        for part in ("train", "test"):
            held = {label for row in split.rows if row.part == part for label in row.labels}
            assert held == {"common", "rare"}, (seed, part)


def test_scan_csv_absolute_paths_are_read(images: Path, tmp_path: Path) -> None:
    from transfer_cli.data.image_batches import batches

    table = listed(tmp_path, f"path,label\n{images / '0.png'},a\nimages/1.png,b\n", "elsewhere.csv")
    folder = ImageFolder.scan(table)
    paths = [file.path for file in folder.files]
    read = next(batches(paths, size=32, resize="squash", batch_size=4, root=folder.root))
    assert read.paths == tuple(paths)
    assert not read.skipped


def test_scan_csv_absolute_paths_inside_the_folder_become_relative(images: Path) -> None:
    listed(images, f"path,label\n{images / 'deep/6.png'},a\n0.png,b\n")
    assert [file.path for file in ImageFolder.scan(images).files] == ["0.png", "deep/6.png"]


@pytest.mark.parametrize("text", ["id,breed\n1,dog\n", "name;breed\n1;dog\n", "boxes\n7\n"])
def test_scan_labels_csv_of_another_program_is_an_error(colours: Path, tmp_path: Path, text: str) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(colours, mine)
    (mine / "labels.csv").write_text(text)
    with pytest.raises(FolderError, match=r"labels\.csv: expected the columns path,label") as error:
        ImageFolder.scan(mine)
    assert "--path-column NAME --label-column NAME" in (error.value.hint or "")
    assert "rename it" in (error.value.hint or "")


def test_split_given_train_parts_are_kept_when_others_are_open() -> None:
    from transfer_cli.data.image_folder import ImageFile

    files = [ImageFile(f"{n}.png", ("ab"[n % 2],), "train" if n < 50 else None) for n in range(100)]
    digests = [f"{n:064x}" for n in range(100)]
    for parts in (files, [*files[:-2], ImageFile("98.png", ("a",), "test"), ImageFile("99.png", ("b",), "test")]):
        split = Split.make(parts, digests, test=0.3, val=0.2)
        assert {row.part for row in split.rows[:50]} == {"train"}
        assert {row.part for row in split.rows[50:]} == {"train", "val", "test"}


def test_split_filling_train_keeps_the_test_image_of_another_label() -> None:
    from transfer_cli.data.image_folder import ImageFile

    # One image with both labels falls into test, five images with the first label alone into train.
    from transfer_cli.data.split_assignment import part_of

    digests = [f"{n:064x}" for n in range(200)]
    tested = next(each for each in digests if part_of(each, test=0.3, val=0) == "test")
    trained = [each for each in digests if part_of(each, test=0.3, val=0) == "train"][:5]
    files = [ImageFile("both.png", ("a", "b")), *(ImageFile(f"{n}.png", ("a",)) for n in range(5))]
    split = Split.make(files, [tested, *trained], test=0.3, val=0.0, task=MULTI_LABEL)
    assert split.counts() == {"train": 5, "test": 1}
    assert split.training_counts() == {"a": 5, "b": 1}


def test_read_column_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path,label,part\na.jpg,cat,test\n")
    with pytest.raises(FolderError, match="the column for train, val and test is called split"):
        ImageFolder.scan(tmp_path / "images.csv")


def parts(table: Path, options: TableOptions | None = None) -> dict[str, str | None]:
    return {file.path: file.part for file in ImageFolder.scan(table, table=options).files}


@pytest.mark.parametrize("heading", ["split", "Set", "SUBSET", "partition", " Split "])
def test_read_column_of_parts_is_read_in_any_spelling(images: Path, heading: str) -> None:
    words = ["train", "Training", "TEST", "testing", "Val", "dev", "hold-out", ""]
    rows = "".join(f"{'deep/' if n > 5 else ''}{n}.png,{'ab'[n % 2]},{word}\n" for n, word in enumerate(words))
    table = listed(images, f"path,label,{heading}\n{rows}", "m.csv")
    assert [*parts(table).values()] == ["train", "train", "test", "test", "val", "val", "test", None]


def test_part_named_all_usual_words_and_no_others() -> None:
    words = {
        "train": ("train", "Training", "TRAIN set"),
        "val": ("val", "valid", "Validation", "dev"),
        "test": ("test", "testing", "holdout", "hold_out"),
    }
    assert {word: part_named(word) for each in words.values() for word in each} == {
        word: part for part, each in words.items() for word in each
    }
    assert [*map(part_named, ("exam", "0", "fold1", "trainval", "set"))] == [None] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,split,set\n0.png,a,train,1\n", "expected one column for train, val and test. .* split, set"),
        ("path,label,Subset,partition\n0.png,a,train,test\n", "Received: Subset, partition"),
        ("path,label,subset\n0.png,a,train\n1.png,b,fold2\n", "line 3: .* in the column subset. Received: 'fold2'"),
        ("path,label,phase\n0.png,a,train\n1.png,b,test\n", "Received a column phase with test, train"),
        ("path,species,category\n0.png,a,b\n", "labels may be in species, category"),
        ("file,photo,label\n0.png,a,b\n", "paths may be in file, photo"),
    ],
)
def test_scan_csv_with_ambiguous_columns_names_them(images: Path, text: str, message: str) -> None:
    with pytest.raises(FolderError, match=message):
        ImageFolder.scan(listed(images, text))


@pytest.mark.parametrize(
    "header",
    [
        "Path,Label",
        " path , label ",
        "filename,class",
        "File Name,Species",
        "image;category",
        "PHOTO\tClass",
        "file|label",
    ],
)
def test_scan_csv_usual_headings_and_delimiters_are_read(images: Path, header: str) -> None:
    delimiter = next(char for char in ",;\t|" if char in header)
    rows = "".join(delimiter.join((f"{n}.png", "ab"[n % 2])) + "\n" for n in range(4))
    folder = ImageFolder.scan(listed(images, f"{header}\n{rows}", "m.csv"))
    assert [file.labels for file in folder.files] == [("a",), ("b",)] * 2


def test_scan_csv_own_headings_take_precedence_over_usual_ones(images: Path) -> None:
    table = listed(images, "path,label,species,image\n0.png,a,x,9.png\n1.png,b,y,8.png\n", "m.csv")
    folder = ImageFolder.scan(table)
    assert folder.class_names == ("a", "b")
    assert folder.left_out == {"columns that are not used: species, image": 2}


def test_scan_csv_columns_and_images_by_option(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "tables" / "animals.tsv"
    table.parent.mkdir()
    table.write_text("Id\tAnimal\tpath\n0.png\ta\t-\ndeep/6.png\tb\t-\n")
    options = TableOptions(path="id", label="Animal", images=images)
    folder = ImageFolder.scan(table, table=options)
    assert [(file.path, file.labels) for file in folder.files] == [("0.png", ("a",)), ("deep/6.png", ("b",))]
    assert (folder.root, folder.images_elsewhere, folder.name) == (images, images, "animals")
    with pytest.raises(FolderError, match=r"--path-column Idd: .* has no column Idd. Did you mean Id\?"):
        ImageFolder.scan(table, table=TableOptions(path="Idd", label="Animal"))
    with pytest.raises(FolderError, match="none of them exists") as error:
        ImageFolder.scan(table, table=TableOptions(path="Id", label="Animal"))
    assert "--images DIR" in (error.value.hint or "")


def test_scan_folder_with_options_of_a_table_is_an_error(colours: Path) -> None:
    with pytest.raises(FolderError, match="--label-column: expected a CSV file"):
        ImageFolder.scan(colours, table=TableOptions(label="species"))


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_scan_csv_accents_are_found_in_both_spellings(tmp_path: Path, stored: str) -> None:
    written = "NFD" if stored == "NFC" else "NFC"
    names = [unicodedata.normalize(stored, f"caf\u00e9/\u00f1{n}.png") for n in range(2)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    rows = "".join(f"{unicodedata.normalize(written, name)},{'ab'[n]}\n" for n, name in enumerate(names))
    folder = ImageFolder.scan(listed(tmp_path, f"path,label\n{rows}"))
    assert [file.path for file in folder.files] == names
    assert not folder.left_out
    both = f"path,label\n{rows}{names[0]},b\n"
    with pytest.raises(FolderError, match=r"line 4: .* is already listed in line 2"):
        ImageFolder.scan(listed(tmp_path, both))


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("label", "a|b"),
        ("label", "a; b"),
        ("label", '"a,b"'),
        ("labels", "a|b"),
        ("labels", "|a"),
        ("labels", '"b, a"'),
    ],
)
def test_scan_csv_two_labels_in_a_cell_are_an_error_with_the_line(images: Path, column: str, cell: str) -> None:
    text = f"path,{column}\n0.png,a\n1.png,b\n2.png,{cell}\n"
    with pytest.raises(FolderError, match=r"line 4: expected .* in a cell"):
        ImageFolder.scan(listed(images, text))


@pytest.mark.parametrize("cell", ['"lion, male"', "a/b", "a+b"])
def test_scan_csv_label_that_may_be_two_is_a_warning(images: Path, cell: str) -> None:
    folder = ImageFolder.scan(listed(images, f"path,label\n0.png,a\n1.png,b\n2.png,{cell}\n"))
    (warning,) = folder.warnings()
    assert "(line 4) is one label" in warning


@pytest.mark.parametrize("cell", ["NA", "nan", "N/A", "-"])
def test_scan_csv_label_of_a_missing_value_is_a_warning(images: Path, cell: str) -> None:
    (warning,) = ImageFolder.scan(listed(images, f"path,label\n0.png,a\n1.png,b\n2.png,{cell}\n")).warnings()
    assert f"'{cell}' (line 4) is used as a class" in warning


@pytest.mark.parametrize("cell", ["a b", "a\uff0cb", "a\u3001b"])
def test_scan_csv_several_labels_with_other_separators_are_a_warning(images: Path, cell: str) -> None:
    (warning,) = ImageFolder.scan(listed(images, f"path,labels\n0.png,a\n1.png,b\n2.png,{cell}\n")).warnings()
    assert "(line 4) is one label" in warning


@pytest.mark.parametrize("rows", [["train", "excluded", "test"], ["train", "", "dev"]])
def test_scan_csv_parts_under_another_heading_are_an_error(images: Path, rows: list[str]) -> None:
    text = "".join(f"{n}.png,{'ab'[n % 2]},{part}\n" for n, part in enumerate(rows))
    with pytest.raises(FolderError, match=r"is called split. Received a column stage") as error:
        ImageFolder.scan(listed(images, f"path,label,stage\n{text}"))
    assert "Rename the column stage to split" in (error.value.hint or "")


@pytest.mark.parametrize("heading", ["is_valid", "IsTest", "is_train"])
def test_scan_csv_column_that_says_yes_or_no_to_a_part_is_an_error(images: Path, heading: str) -> None:
    with pytest.raises(FolderError, match=f"Received a column {heading} with False, True"):
        ImageFolder.scan(listed(images, f"path,label,{heading}\n0.png,a,True\n1.png,b,False\n"))


def test_scan_csv_invisible_letters_in_headings_do_not_matter(images: Path) -> None:
    assert len(ImageFolder.scan(listed(images, "\ufeff\ufeffpath,\u200blabel\n0.png,a\n1.png,b\n")).files) == 2


@pytest.mark.parametrize("name", ["0", "0.PNG"])
def test_scan_csv_name_without_its_ending_or_in_another_case_shows_the_file(images: Path, name: str) -> None:
    with pytest.raises(FolderError, match="none of them exists") as error:
        ImageFolder.scan(listed(images, f"path,label\n{name},a\n"))
    assert error.value.hint == "The file is called 0.png: write its whole name into the table, in the same case."


def test_scan_folder_table_is_found_in_any_case(images: Path) -> None:
    listed(images, "path,label\n0.png,a\n1.png,b\n", "Labels.CSV")
    assert ImageFolder.scan(images).class_names == ("a", "b")


def test_scan_csv_ordinary_labels_give_no_warning(images: Path) -> None:
    folder = ImageFolder.scan(listed(images, "path,label\n0.png,red fox\n1.png,t-shirt\n2.png,20/25\n"))
    assert folder.warnings() == []


@pytest.mark.parametrize("label", ["L\u00f6we", "B\u00e4r"])
def test_scan_csv_in_cp1252_names_the_encoding_and_the_line(images: Path, label: str) -> None:
    (images / "m.csv").write_bytes(f"path,label\r\n0.png,cat\r\n1.png,{label}\r\n".encode("cp1252"))
    with pytest.raises(InputError, match=rf"m.csv line 3: .*Expected UTF-8.*cp1252.*{label}") as error:
        ImageFolder.scan(images / "m.csv")
    assert "iconv -f WINDOWS-1252 -t UTF-8" in (error.value.hint or "")


def test_scan_csv_file_name_that_is_not_utf8_is_found(images: Path) -> None:
    name = b"caf\xe9.png"
    shutil.copy(images / "0.png", bytes(images) + b"/" + name)
    (images / "m.csv").write_bytes(b"path,label\n" + name + b",a\n1.png,b\n")
    assert ImageFolder.scan(images / "m.csv").files[1].path == "caf\udce9.png"
    (images / "m.csv").write_bytes(b"path,label\nna\xefve.png,a\n1.png,b\n")
    with pytest.raises(InputError, match=r"line 2: .* is not UTF-8 text"):
        ImageFolder.scan(images / "m.csv")


def test_scan_csv_comment_that_swallows_a_row_is_an_error(images: Path) -> None:
    good = 'path,label,note\n0.png,a,"two\nlines, with a comma"\n1.png,b,\n'
    assert len(ImageFolder.scan(listed(images, good)).files) == 2
    bad = 'path,label,note\n0.png,a,"open\n1.png,b,closed"\n2.png,b,\n'
    with pytest.raises(FolderError, match="line 2: expected a cell of one line"):
        ImageFolder.scan(listed(images, bad))
    with pytest.raises(FolderError, match="line 2: expected a cell of one line"):
        ImageFolder.scan(listed(images, 'path,label\n0.png,"a\n1.png,b"\n'))


def test_scan_csv_one_label_and_images_without_it_is_a_task(images: Path) -> None:
    folder = ImageFolder.scan(listed(images, "path,labels\n0.png,fox\n1.png,\n2.png,fox\n"))
    assert (folder.task, folder.class_names) == (MULTI_LABEL, ("fox",))


@pytest.mark.parametrize("text", ["path,labels\n0.png,fox\n1.png,fox\n", "path,label\n0.png,fox\n1.png,\n"])
def test_scan_csv_one_class_says_how_to_write_absence(images: Path, text: str) -> None:
    with pytest.raises(FolderError, match=r"has 1 class. .* Received: fox") as error:
        ImageFolder.scan(listed(images, text))
    assert "presence and absence" in (error.value.hint or "")


def test_scan_class_folder_that_is_not_utf8_is_an_error(colours: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(colours, mine)
    (mine / "red").rename(bytes(mine).decode() + "/r\udce9d")
    with pytest.raises(FolderError, match=r"class folder r\\xe9d, whose name is not UTF-8"):
        ImageFolder.scan(mine)


@pytest.mark.parametrize("name", ["animals.xlsx", "animals.ods"])
def test_scan_workbook_says_how_to_save_it_as_csv(images: Path, name: str) -> None:
    (images / name).write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="is an Excel workbook") as error:
        ImageFolder.scan(images / name)
    assert "CSV UTF-8" in (error.value.hint or "")
