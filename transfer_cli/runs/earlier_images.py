"""The images that the network of a run had seen before: training images of the runs that it started from."""

from __future__ import annotations

import shutil

import numpy as np

from transfer_cli.bundle.training_images import TrainingImages
from transfer_cli.data.split import Split
from transfer_cli.runs.run_directory import RunDirectory


def read_earlier_images(run: RunDirectory) -> TrainingImages | None:
    """Return the images of the runs that a run started from; None if it started from none."""
    return TrainingImages.load(run.earlier_images) if run.earlier_images.is_file() else None


def count_trained_earlier(run: RunDirectory, split: Split) -> int:
    """Return how many held-out images of a split are training images of the runs that a run started from."""
    images = read_earlier_images(run)
    held_out = [row.sha256 for row in split.rows if row.part != "train"]
    return 0 if images is None else images.roles_of(held_out).count("train")


def copy_earlier_images(source: RunDirectory, target: RunDirectory) -> None:
    """Copy them to a run that is made of the network of another one."""
    if source.earlier_images.is_file():
        shutil.copyfile(source.earlier_images, target.earlier_images)


def with_earlier_images(images: TrainingImages, run: RunDirectory) -> TrainingImages:
    """Return the images of a training together with those of the runs that it started from."""
    earlier = read_earlier_images(run)
    if earlier is None:
        return images
    train = np.union1d(images.train, earlier.train)
    return TrainingImages(train, np.setdiff1d(np.union1d(images.val, earlier.val), train))
