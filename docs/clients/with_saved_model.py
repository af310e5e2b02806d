"""Classify images with a SavedModel: pip install tensorflow pillow; python with_saved_model.py saved_model *.jpg."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

RESIZE = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *paths = sys.argv[1:]
network = tf.saved_model.load(model)
metadata = json.loads(Path(model, "assets", "transfer_cli.json").read_text("utf-8"))
resize, size = RESIZE[metadata["resize"]], (metadata["image_size"],) * 2
for path in paths:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = tf.constant(np.asarray(resize(image, size))[np.newaxis])
    probabilities = network.signatures["serving_default"](images=images)["probabilities"].numpy()[0]
    best = probabilities.argmax()
    print(f"{path}\t{metadata['class_names'][best]}\t{probabilities[best]:.3f}")
