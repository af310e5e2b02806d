"""Classify images with a SavedModel: pip install tensorflow pillow; python with_saved_model.py saved_model *.jpg."""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

RESIZE = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}


def read_rgb(path, bit_depth):
    """Return an image as 8-bit RGB: 16 bits are scaled, transparent pixels become white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # grey with 16 bits per sample
        image = Image.fromarray(np.rint(np.asarray(image) * (255 / (2**bit_depth - 1))).clip(0, 255).astype(np.uint8))
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


model, *paths = sys.argv[1:]
network = tf.saved_model.load(model)
metadata = json.loads(Path(model, "assets", "transfer_cli.json").read_text("utf-8"))
resize, size = RESIZE[metadata["resize"]], (metadata["image_size"],) * 2
for path in paths:
    image = read_rgb(path, metadata.get("bit_depth") or 16)
    images = tf.constant(np.asarray(resize(image, size))[np.newaxis])
    probabilities = network.signatures["serving_default"](images=images)["probabilities"].numpy()[0]
    best = probabilities.argmax()
    print(f"{path}\t{metadata['class_names'][best]}\t{probabilities[best]:.3f}")
