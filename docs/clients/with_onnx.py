"""Classify images with model.onnx: pip install onnxruntime pillow; python with_onnx.py model.onnx *.jpg."""

import json
import sys

import numpy as np
import onnxruntime
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
session = onnxruntime.InferenceSession(model)
metadata = json.loads(session.get_modelmeta().custom_metadata_map["transfer_cli.json"])
resize, size = RESIZE[metadata["resize"]], (metadata["image_size"],) * 2
for path in paths:
    image = read_rgb(path, metadata.get("bit_depth") or 16)
    images = np.asarray(resize(image, size))[np.newaxis]
    probabilities = session.run(["probabilities"], {"images": images})[0][0]
    best = probabilities.argmax()
    print(f"{path}\t{metadata['class_names'][best]}\t{probabilities[best]:.3f}")
