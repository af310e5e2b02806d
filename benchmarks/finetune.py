"""Time and test accuracy of fine-tuning: the default recipe, and the two stages of the keras.io guide.

    export KERAS_HOME=../shared/keras_home
    python benchmarks/finetune.py ../shared/data/clothing

The guide (keras.io, "Transfer learning & fine-tuning") trains a head on a frozen network for 20 epochs, with flips and
small rotations, then all layers for 10 epochs at 1e-5. Both are whole processes, including decoding. The head alone is
compared in the same way, with the same number of epochs and augmentation, without the second stage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring

GUIDE = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
begun = time.perf_counter()
import keras

folder, seed, stages = sys.argv[1], int(sys.argv[2]), sys.argv[3]
keras.utils.set_random_seed(seed)
size = (224, 224)
def images(part, **options):
    return keras.utils.image_dataset_from_directory(
        f"{folder}/{part}", image_size=size, batch_size=32, label_mode="int", verbose=False, **options
    )
train, val = images("train", validation_split=0.13, subset="both", seed=seed)
test = images("test", shuffle=False)
classes = len(train.class_names)
augmentation = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)])
train = train.map(lambda x, y: (augmentation(x, training=True), y)).prefetch(2)
val, test = val.prefetch(2), test.prefetch(2)
base = keras.applications.MobileNet(alpha=0.25, weights="imagenet", include_top=False, input_shape=(*size, 3))
base.trainable = False
inputs = keras.Input((*size, 3))
x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
x = base(x, training=False)
x = keras.layers.GlobalAveragePooling2D()(x)
x = keras.layers.Dropout(0.2)(x)
model = keras.Model(inputs, keras.layers.Dense(classes)(x))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
def fit(optimizer, epochs):
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    begun = time.perf_counter()
    model.fit(train, epochs=epochs, validation_data=val, verbose=0)
    return time.perf_counter() - begun
head = fit(keras.optimizers.Adam(), 20)
if stages == "both":
    base.trainable = True
    fit(keras.optimizers.Adam(1e-5), 10)
print(json.dumps({"accuracy": model.evaluate(test, verbose=0)[1], "head": head}))
"""
HEAD = """
method = "finetune"

[head]
kind = "linear"
start = "random"
dropout = 0.2

[[stage]]
unfreeze = "head"
epochs = 20
learning_rate = 1e-3
optimizer = "adam"

[early_stopping]
patience = 0

[augmentation]
rotation_range = 36
horizontal_flip = true
"""


def main() -> None:
    """Print seconds and test accuracies."""
    options = measuring.arguments(__doc__, stages=["both", "head"])
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "guide.py").write_text(GUIDE)
        (place / "head.toml").write_text(HEAD)
        for stages in options.stages:
            scores: dict[str, list[float]] = {"guide": [], "transfer-cli": []}
            heads: dict[str, list[float]] = {"guide": [], "transfer-cli": []}

            def guide(stages: str = stages, scores: Any = scores, heads: Any = heads) -> None:
                seed = len(scores["guide"])
                output = json.loads(call(place, place / "guide.py", options.photographs, seed, stages).splitlines()[-1])
                scores["guide"].append(output["accuracy"])
                heads["guide"].append(output["head"])

            def own(stages: str = stages, scores: Any = scores, heads: Any = heads) -> None:
                seed = len(scores["transfer-cli"])
                run = place / f"{stages}-{seed}"
                command = ["-m", "transfer_cli", "--quiet", "finetune", options.photographs, "-o", run]
                command += ["--backbone", "mobilenet@0.25", "--seed", seed, "--set", f"split.seed={seed}"]
                command += ["--recipe", place / "head.toml"] if stages == "head" else []
                call(place, *command)
                metrics = json.loads((run / "metrics.json").read_text())
                scores["transfer-cli"].append(metrics["test"]["accuracy"]["value"])
                events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
                heads["transfer-cli"].append(sum(event["seconds"] for event in events if event["event"] == "stage"))

            seconds = measuring.alternate({"guide": guide, "transfer-cli": own}, options.rounds)
            whole = {way: measuring.median(values) for way, values in seconds.items()}
            stage = {way: measuring.median(values) for way, values in heads.items()}
            mean = {way: sum(values) / len(values) for way, values in scores.items()}
            row = {"what": "default recipe, guide's two stages" if stages == "both" else "20 epochs of the head"}
            row |= {f"{way}, s": value for way, value in whole.items()}
            row |= {"ratio": whole["guide"] / whole["transfer-cli"]}
            if stages == "head":
                row |= {f"{way}, stage alone, s": value for way, value in stage.items()}
                row |= {"ratio of the stage": stage["guide"] / stage["transfer-cli"]}
            row |= {f"{way}, test accuracy": f"{value:.3f}" for way, value in mean.items()}
            rows.append(row)
            measuring.report("finetune on clothing", [row], None)
            print(flush=True)
    if options.json:
        measuring.write("finetune on clothing", rows, options.json)


def call(place: Path, *arguments: object) -> str:
    """Run a Python command and return its output."""
    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(place / "cache")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, check=True, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    ).stdout


if __name__ == "__main__":
    main()
