"""Classify images with model.onnx: pip install onnxruntime pillow; python with_onnx.py model.onnx *.jpg."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

RESIZE = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *paths = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
metadata = json.loads(session.get_modelmeta().custom_metadata_map["transfer_cli.json"])
resize, size = RESIZE[metadata["resize"]], (metadata["image_size"],) * 2
for path in paths:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(resize(image, size))[np.newaxis]
    probabilities = session.run(["probabilities"], {"images": images})[0][0]
    best = probabilities.argmax()
    print(f"{path}\t{metadata['class_names'][best]}\t{probabilities[best]:.3f}")
