"""Classify pictures by model.xml and .bin: pip install openvino pillow; python with_openvino.py model.xml *.jpg."""

import json
import sys

import numpy as np
import openvino
from PIL import Image, ImageOps

FIT = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}

model, *images = sys.argv[1:]
network = openvino.Core().read_model(model)
facts = json.loads(network.get_rt_info(["model_info", "transfer_cli.json"]).astype(str))
# Where a processor has bf16 it would compute in that.
run = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
fit, size = FIT[facts["resize"]], (facts["image_size"],) * 2
for path in images:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(fit(image, size))[np.newaxis]
    probabilities = run({"images": images})["probabilities"][0]
    best = probabilities.argmax()
    print(f"{path}\t{facts['class_names'][best]}\t{probabilities[best]:.3f}")
