"""Train a backbone from random weights on synthetic images only.

    python embedded_weights/train.py --output runs/pretraining
    python embedded_weights/train.py --output runs/pretraining --steps 40000      # resumes

The output folder has `log.jsonl` (images, seconds, losses, accuracy on held-out renderings and on the held-out tasks),
`checkpoint.npz` to resume from, and `store` with fractals and textures. `python embedded_weights/ship.py` writes the
weights file of the package from it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import held_out
import numpy as np
from feeding import Batch, Feed, batch, batches
from formulas import Counts, formulas
from ship import averaged, read_log, steps_of

if TYPE_CHECKING:
    from learning import Learner

CLASSES = ("shape", "fill", "ground", "colour")
HEADS = (*CLASSES, "mask", "layout", "edges", "outline", "texture")


def main() -> None:
    """Start or resume a training."""
    from learning import Learner  # not at module level: the processes that make batches import this file

    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    store = arguments.store or arguments.output / "store"
    counts = Counts(*arguments.classes)
    feed = Feed(counts, arguments.seed, store, arguments.size, arguments.batch, arguments.easy)
    drawn = formulas(counts, arguments.seed, store)
    tasks = held_out.tasks(store)
    kept = [batch(drawn, feed, number, held_out=True) for number in range(8)]
    learner = Learner(
        arguments.backbone, arguments.size, counts, dict(zip(HEADS, arguments.heads, strict=True)),
        rate=arguments.rate, decay=arguments.decay, steps=arguments.steps, seed=arguments.seed,
        average=arguments.average, warmup=arguments.warmup,
    )  # fmt: skip
    checkpoint = arguments.output / "checkpoint.npz"
    earlier = load_start(arguments, learner) if arguments.start else {"images": 0, "seconds": 0}
    spent = learner.restore(checkpoint) if checkpoint.is_file() else 0.0
    begun, saved = time.monotonic() - spent, time.monotonic()
    losses: list[dict[str, Any]] = []
    for made in batches(feed, learner.done, arguments.steps, arguments.processes):
        losses.append(learner.step(made))
        now, last = time.monotonic(), learner.done == arguments.steps
        if learner.done % arguments.every == 0 or last:
            elapsed = now - begun
            line = {"images": learner.done * arguments.batch, "seconds": round(elapsed)}
            line = {"step": learner.done, **{name: count + earlier[name] for name, count in line.items()}}
            line |= {head: round(float(np.mean([loss[head].numpy() for loss in losses])), 4) for head in losses[0]}
            line |= {f"held out {name}": round(share, 4) for name, share in scores(learner, kept, tasks).items()}
            with open(arguments.output / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
            losses = []
        if now - saved > arguments.minutes * 60 or last:
            learner.save(checkpoint, now - begun)
            saved = time.monotonic()
        if arguments.stop and now - begun > arguments.stop:
            learner.save(checkpoint, now - begun)
            break


def load_start(arguments: argparse.Namespace, learner: Learner) -> dict[str, int]:
    """Load the averaged weights of an earlier training; return its numbers of images and seconds."""
    kept = arguments.output / "earlier.json"
    if not kept.is_file():
        checkpoint = arguments.start / "checkpoint.npz"
        arrays = averaged(checkpoint, len(learner.network.weights))
        np.savez(arguments.output / "earlier.npz", *arrays)
        line = read_log(arguments.start / "log.jsonl", steps_of(checkpoint))
        kept.write_text(json.dumps({name: line[name] for name in ("images", "seconds")}))
    with np.load(arguments.output / "earlier.npz") as stored:
        learner.load_backbone([stored[name] for name in stored.files])
    return dict(json.loads(kept.read_text()))


def scores(learner: Learner, kept: list[Batch], tasks: held_out.Tasks) -> dict[str, float]:
    """Return the accuracy of the averaged weights on held-out renderings and on the held-out tasks."""
    learning = [variable.numpy() for variable in learner.network.weights]
    for variable, mean in zip(learner.network.weights, learner.averaged(), strict=True):
        variable.assign(mean)
    outputs = [learner.predict(part.images) for part in kept]
    pairs = list(zip(outputs, kept, strict=True))
    accuracy = {}
    for head in [head for head in CLASSES if head in outputs[0]]:
        accuracy[head] = float(np.mean([np.argmax(out[head], 1) == getattr(part, head) for out, part in pairs]))
    probed = held_out.accuracies(learner.features, tasks, kept[0].images.shape[1])
    accuracy |= {f"task {name}": share for name, share in probed.items()}
    for variable, value in zip(learner.network.weights, learning, strict=True):
        variable.assign(value)
    return accuracy


def parse_arguments() -> argparse.Namespace:
    """Return the command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="folder of rendered fractals and textures; may be shared")
    parser.add_argument("--start", type=Path, help="folder of an earlier training; start from its averaged weights")
    parser.add_argument("--backbone", default="mobilenet@0.25")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--average", type=float, default=0.999)
    parser.add_argument(
        "--classes", type=int, nargs=4, default=[300, 300, 300, 240], help="fractals, contours, limbs, textures"
    )
    parser.add_argument(
        "--heads",
        type=float,
        nargs=9,
        default=[1, 0.5, 0.5, 0.5, 2, 2, 2, 2, 0.5],
        help=f"loss weights of {', '.join(HEADS)}",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=1000, help="steps per line of the log")
    parser.add_argument("--minutes", type=float, default=5, help="minutes between checkpoints")
    parser.add_argument("--warmup", type=int, default=200, help="warm-up steps of the learning rate")
    parser.add_argument("--easy", type=int, default=4000, help="steps during which the images become harder")
    parser.add_argument("--stop", type=float, help="stop after this many seconds, including earlier sessions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
