"""Classify JPEG and PNG files by a SavedModel: pip install tensorflow; python with_saved_model.py saved_model *.jpg."""

import sys
from pathlib import Path

import tensorflow as tf

model, *images = sys.argv[1:]
network = tf.saved_model.load(model)
labels = Path(model, "assets", "labels.txt").read_text("utf-8").splitlines()
# It decodes and resizes by itself.
files = tf.constant([Path(path).read_bytes() for path in images])
rows = network.signatures["serving_bytes"](bytes=files)["probabilities"].numpy()
for path, probabilities in zip(images, rows, strict=True):
    best = probabilities.argmax()
    print(f"{path}\t{labels[best]}\t{probabilities[best]:.3f}")
