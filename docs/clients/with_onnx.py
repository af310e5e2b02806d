"""Classify pictures by model.onnx: pip install onnxruntime pillow; python with_onnx.py model.onnx *.jpg."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FIT = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *images = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
facts = json.loads(session.get_modelmeta().custom_metadata_map["transfer_cli.json"])
fit, size = FIT[facts["resize"]], (facts["image_size"],) * 2
for path in images:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(fit(image, size))[np.newaxis]
    probabilities = session.run(["probabilities"], {"images": images})[0][0]
    best = probabilities.argmax()
    print(f"{path}\t{facts['class_names'][best]}\t{probabilities[best]:.3f}")
