"""Time of a prediction from a cold start: `transfer-cli predict`, and a Python script that loads the model with Keras.

export KERAS_HOME=../shared/keras_home
python benchmarks/predict.py ../shared/data/clothing
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measuring

SCRIPT = """
import sys
import keras
import numpy as np

model = keras.saving.load_model(sys.argv[1], compile=False)
size = model.input_shape[1:3]
if len(sys.argv) == 3 and sys.argv[2].endswith(".jpg"):
    image = keras.utils.img_to_array(keras.utils.load_img(sys.argv[2], target_size=size)).astype(np.uint8)
    print(model.predict(image[None], verbose=0))
else:
    images = keras.utils.image_dataset_from_directory(
        sys.argv[2], labels=None, image_size=size, batch_size=32, shuffle=False, verbose=False
    )
    cast = lambda batch: keras.ops.cast(keras.ops.round(batch), "uint8")
    print(len(model.predict(images.map(cast), verbose=0)))
"""


def main() -> None:
    """Print the seconds of one image and of many."""
    options = measuring.arguments(__doc__, count=1000, backbone="mobilenet@0.25")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = {**os.environ, "TRANSFER_CLI_CACHE": str(place / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        folder = measuring.make_images(options.photographs, place / "images", options.count, 500, 375)
        (place / "script.py").write_text(SCRIPT)

        def call(*arguments: object) -> None:
            command = [sys.executable, *map(str, arguments)]
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        program = ["-m", "transfer_cli", "--quiet"]
        epochs = ["--set", "stage.1.epochs=1"]
        source = [options.photographs, "--backbone", options.backbone]
        call(*program, "finetune", *source, *epochs, "-o", place / "finetuned")
        call(*program, "extract", *source, "-o", place / "extracted")
        model = place / "finetuned/model/network.keras"
        one = sorted(folder.rglob("*.jpg"))[0]
        for what, images in (("1 image", one), (f"{options.count} images", folder)):
            ways = {
                "Keras script": lambda images=images: call(place / "script.py", model, images),
                "predict, finetuned": lambda images=images: call(*program, "predict", place / "finetuned", images),
                "predict, extracted": lambda images=images: call(*program, "predict", place / "extracted", images),
            }
            seconds = {way: measuring.median(s) for way, s in measuring.alternate(ways, options.rounds).items()}
            ratios = {f"ratio, {way[9:]}": seconds["Keras script"] / seconds[way] for way in list(seconds)[1:]}
            rows.append({"what": what, **{f"{way}, s": value for way, value in seconds.items()}, **ratios})
    measuring.report("predict, whole process", rows, options.json)


if __name__ == "__main__":
    main()
