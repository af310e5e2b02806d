"""Classify pictures by model.keras: pip install tensorflow pillow; python with_keras.py model.keras *.jpg."""

import json
import sys
import zipfile

import keras
import numpy as np
from PIL import Image, ImageOps

FIT = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *images = sys.argv[1:]
network = keras.saving.load_model(model)
facts = json.loads(zipfile.ZipFile(model).read("transfer_cli.json"))
fit, size = FIT[facts["resize"]], (facts["image_size"],) * 2
for path in images:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(fit(image, size))[np.newaxis]
    probabilities = np.asarray(network(images))[0]
    best = probabilities.argmax()
    print(f"{path}\t{facts['class_names'][best]}\t{probabilities[best]:.3f}")
