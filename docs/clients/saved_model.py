"""Classify pictures with an exported SavedModel: python saved_model.py FOLDER PICTURE...

It needs TensorFlow and nothing else; the model decodes and resizes JPEG and PNG files itself.
"""

import sys
from pathlib import Path

import tensorflow as tf

folder, *paths = sys.argv[1:]
model = tf.saved_model.load(folder)
labels = Path(folder, "assets", "labels.txt").read_text("utf-8").splitlines()

pictures = tf.constant([Path(path).read_bytes() for path in paths])
rows = model.signatures["serving_bytes"](bytes=pictures)["probabilities"].numpy()
for path, row in zip(paths, rows, strict=True):
    print(path)
    for probability, label in sorted(zip(row, labels, strict=True), reverse=True):
        print(f"{label} {probability:.4f}")
