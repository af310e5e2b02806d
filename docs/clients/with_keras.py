"""Classify images with model.keras: pip install tensorflow pillow; python with_keras.py model.keras *.jpg."""

import json
import sys
import zipfile

import keras
import numpy as np
from PIL import Image, ImageOps

RESIZE = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *paths = sys.argv[1:]
network = keras.saving.load_model(model)
metadata = json.loads(zipfile.ZipFile(model).read("transfer_cli.json"))
resize, size = RESIZE[metadata["resize"]], (metadata["image_size"],) * 2
for path in paths:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(resize(image, size))[np.newaxis]
    probabilities = np.asarray(network(images))[0]
    best = probabilities.argmax()
    print(f"{path}\t{metadata['class_names'][best]}\t{probabilities[best]:.3f}")
