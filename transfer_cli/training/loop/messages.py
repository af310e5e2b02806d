"""Messages that a fine-tuning prints."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_cli.data.split import Split
from transfer_cli.errors import RecipeError, RunError
from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.recipe.stages import EarlyStopping
from transfer_cli.runs.history import Epoch
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.text import counted
from transfer_cli.training.loop.checkpoints import State
from transfer_cli.training.loop.early_stopping import score

_FEW_STEPS = 100
"""Fine-tuning rarely improves a network in fewer steps; the default recipe trains for 300 or more."""
MIGHT_HELP = "what might help: more images of each class, a larger --backbone, or transfer-cli auto"
_METRICS = {"balanced_accuracy": "balanced accuracy", "mean_average_precision": "mAP"}


def training_summary(state: State, early: EarlyStopping, steps: int) -> str:
    """Return whether training improved the network in a number of steps."""
    best, first = state.best_epoch, state.history[0]
    assert best is not None
    before = f" ({score(first, early, 'accuracy'):.3f} before training)" if first.epoch == 0 else ""
    if early.keep == "last":
        now = score(best, early, "accuracy")
        return f"trained for {counted(best.epoch, 'epoch')}: val {_metric(early)} {now:.3f}{before}"
    if best.epoch == 0:
        few = (
            f". {counted(steps, 'training step', 'is')} few: the default recipe takes 300 or more"
            if steps < _FEW_STEPS
            else ""
        )
        return f"fine-tuning did not improve on the linear probe: epoch 0 scored best on val and is kept{few}"
    return f"kept epoch {best.epoch}: val {_metric(early)} {score(best, early, 'accuracy'):.3f}{before}"


def flips_summary(used: bool, without: float, with_flips: float) -> str:
    """Return whether images are flipped, and the log losses of a linear probe that say so."""
    losses = (
        f"the cross-validated log loss of a linear probe is {with_flips:.3f} with mirror images, {without:.3f} without"
    )
    return f"augmentation flips images left-right: {losses}" if used else f"augmentation flips no images: {losses}"


def without_val(recipe: FinetuneRecipe) -> str:
    """Return what a fine-tuning without validation images does instead of choosing by them."""
    text = "no validation set: all epochs are run, and the last one is kept"
    is_averaged = recipe.final.classifier == "features" and recipe.final.probe == "auto"
    return f"{text}, averaged with the linear probe" if is_averaged else text


def share_summary(share: float, recipe: FinetuneRecipe, *, trained: bool = True) -> str:
    """Return what is kept, by the share of the linear probe in it; `trained`: whether any layer was trained."""
    if not trained:
        return "no layer of the backbone was trained: the result is a linear probe, as extract makes it"
    if share == 1 and recipe.final.probe != "auto":
        setting = "final.interpolate = 0" if recipe.final.interpolate == 0 else "final.probe = 1"
        return f"kept the pretrained weights ({setting}): the result is a linear probe, as extract makes it"
    if share == 1:
        return (
            "fine-tuning did not help on these images: the pretrained network with a linear probe is kept, as extract "
            f"makes it; {MIGHT_HELP}"
        )
    text = "fitted the classifier to the features of the trained network"
    if recipe.final.interpolate < 1:
        text += f", {100 * recipe.final.interpolate:g} % of the way from the pretrained weights"
    return f"{text}, and averaged it with the linear probe (share {share:.2f})" if share else text


def hardware_summary(gpus: Sequence[str], precision: str) -> str:
    """Return the devices and the precision of the training; an empty string for the usual: CPU, float32."""
    if not gpus and precision == "float32":
        return ""
    names = " and ".join(name.rpartition("device:")[2] for name in gpus)
    return f"training on {names or 'the CPU'} in {precision}"


def epoch_summary(epoch: Epoch, state: State, epochs: int, early: EarlyStopping) -> str:
    """Return one line about an epoch of a stage that has `epochs`."""
    val, best = "", state.best_epoch
    if epoch.val_accuracy is not None and best is not None:
        rank = (
            " (best so far)" if best is epoch else f" (best {score(best, early, 'accuracy'):.3f}, epoch {best.epoch})"
        )
        rank = "" if early.keep == "last" else rank
        val = f"val loss {epoch.val_loss:.3f}, {_metric(early)} {score(epoch, early, 'accuracy'):.3f}{rank}"
    if epoch.loss is None:
        return f"epoch 0, the linear probe before fine-tuning: {val or 'no validation set'}"
    loss = f"loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}"
    first = state.done == epoch.epoch
    number = f"{epoch.epoch} of {epochs}" if first else f"{epoch.epoch} ({state.done} of {epochs})"
    return f"epoch {number}: {'; '.join(filter(None, [loss, val]))}; {epoch.seconds:.1f} s"


def split_changed(request: TrainingRequest, split: Split) -> RunError:
    """Return the error of a run that cannot be resumed, since its images or their split have changed."""
    before = {row.path: row for row in Split.read(request.run.split).rows} if request.run.split.is_file() else {}
    after = {row.path: row for row in split.rows}
    counts = {
        "new": len(after.keys() - before.keys()),
        "missing": len(before.keys() - after.keys()),
        "changed or in another split": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return RunError(
        f"{request.run.path} cannot be resumed: the images of {request.folder.source} have changed since its last "
        f"epoch ({', '.join(f'{count} {change}' for change, count in counts.items())}). Expected the same images.",
        hint="Restore the images, or start this run again with --overwrite.",
    )


def diverged(epoch: int, stage: int, recipe: FinetuneRecipe, halvings: int) -> RecipeError:
    """Return the error of a stage, counted from 1, that diverges even at a lower learning rate."""
    lower = recipe.stage[stage - 1].learning_rate / 10
    return RecipeError(
        f"Training diverged in epoch {epoch}: the loss or the weights are not finite any more, although the learning "
        f"rate was halved {halvings} times.",
        hint=f"Lower the learning rate: --set stage.{stage}.learning_rate={lower:g} --overwrite",
    )


def _metric(early: EarlyStopping) -> str:
    return _METRICS.get(early.monitor or "", "accuracy")
