from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.datasets import made_files
from tests.datasets.made_files import array, dictionary, numbers, rows_of, spec_of, texts
from transfer_cli.datasets import readers
from transfer_cli.datasets.readers import read_data_set
from transfer_cli.errors import DataSetError


def read(name: str, content: bytes, folder: Path) -> readers.DataSet:
    path = folder / "file"
    path.write_bytes(content)
    return read_data_set(spec_of(name, content), path)


def test_mnist_is_grey_images_of_ten_digits(tmp_path: Path) -> None:
    found = read("mnist", made_files.mnist(), tmp_path)
    assert found.class_names == tuple("0123456789")
    assert {part: images.images.shape for part, images in found.parts.items()} == {
        "train": (40, 28, 28),
        "test": (20, 28, 28),
    }
    assert found.parts["test"].labels.tolist() == [*range(10), *range(10)]


def test_cifar10_joins_its_batches_and_orders_colours_last(tmp_path: Path) -> None:
    found = read("cifar10", made_files.cifar10(), tmp_path)
    train = found.parts["train"]
    assert (train.images.shape, train.labels.tolist()) == ((100, 32, 32, 3), made_files.LABELS * 5)
    assert found.class_names == tuple(made_files.CIFAR10_NAMES)
    row = rows_of(20, 2)[3]  # of the second batch
    np.testing.assert_array_equal(train.images[23, :, :, 1], row[1024:2048].reshape(32, 32))
    np.testing.assert_array_equal(found.parts["test"].images[0, :, :, 2], rows_of(20, 9)[0][2048:].reshape(32, 32))


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    found = read("cifar100", made_files.cifar100(), tmp_path)
    assert [found.class_names[label] for label in found.parts["train"].labels] == [
        "fine_0",
        "fine_99",
        "fine_0",
        "fine_1",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mnist", b"no zip", "zip file"),
        (
            "mnist",
            made_files.mnist(x_train=rows_of(1, 1).astype(np.float32)[:, :2352].reshape(3, 28, 28)),
            "expected images of uint8",
        ),
        ("mnist", made_files.mnist(y_test=np.zeros(3, np.uint8)), "with a label each"),
        ("mnist", made_files.mnist(y_test=np.full(20, 10, np.uint8)), "labels from 0 to 9, received 10 to 10"),
        ("mnist", made_files.mnist(y_test=np.array([print] * 20, object)), "no code in it was run|not expected"),
        ("mnist", made_files.mnist(extra=np.zeros(3)), "not expected there"),
        ("mnist", made_files.mnist(x_train=np.zeros((9000, 28, 28), np.uint8)), "would expand"),
        ("cifar10", b"no gzip", "gzip"),
        ("cifar10", made_files.cifar10()[:5000], "end-of-stream"),
        ("cifar10", made_files.cifar100(), "lacks data_batch_1"),
        ("cifar10", made_files.cifar10(test_batch=b"cos\nsystem\n(S'true'\ntR."), r"os\.system, which was refused"),
        ("cifar10", made_files.cifar10(test_batch=dictionary(labels=numbers([0]))), "data"),
        ("cifar10", made_files.cifar10(test_batch=dictionary(data=array(rows_of(2, 1)), labels=numbers([0]))), "each"),
        ("cifar10", made_files.cifar10(**{"batches.meta": dictionary(label_names=texts(["../up"] * 10))}), "names"),
        ("cifar10", made_files.cifar10(**{"batches.meta": dictionary(label_names=texts(["a"]))}), "labels from 0 to 0"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=f"(?s)does not hold the images of {name}.*({message})"):
        read(name, content, tmp_path)


def test_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = made_files.cifar10(huge=bytes(3_000_000))
    assert len(content) < len(gzip.decompress(content)) / 3
    monkeypatch.setattr(readers, "MAX_UNPACKED", 2_000_000)
    with pytest.raises(DataSetError, match=r"unpacks to more than 2,000,000 bytes"):
        read("cifar10", content, tmp_path)
    monkeypatch.setattr(readers, "MAX_UNPACKED", 5_000_000)
    read("cifar10", content, tmp_path)  # members that are not needed are read over
