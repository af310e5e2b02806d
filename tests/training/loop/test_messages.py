"""Messages of a fine-tuning."""

from __future__ import annotations

from transfer_cli.recipe.recipes import FinetuneRecipe
from transfer_cli.training.loop.messages import hardware_summary, share_summary


def test_hardware_summary_names_what_is_not_the_default() -> None:
    assert hardware_summary([], "float32") == ""
    assert hardware_summary([], "mixed_bfloat16") == "training on the CPU in mixed_bfloat16"
    gpus = ["/device:GPU:0", "/device:GPU:1"]
    assert hardware_summary(gpus, "float32") == "training on GPU:0 and GPU:1 in float32"


def test_share_summary_says_what_is_kept_and_what_might_help() -> None:
    recipe = FinetuneRecipe.load()
    assert share_summary(1.0, recipe) == (
        "fine-tuning did not help on these images: the pretrained network with a linear probe is kept, as extract "
        "makes it; what might help: more images of each class, a larger --backbone, or transfer-cli auto"
    )
    averaged = "fitted the classifier to the features of the trained network, and averaged it with the linear probe"
    assert share_summary(1 / 3, recipe) == f"{averaged} (share 0.33)"
    assert share_summary(1.0, recipe, trained=False).startswith("no layer of the backbone was trained")
    fixed = FinetuneRecipe.load(None, ["final.probe=0", "final.interpolate=0.5"])
    assert share_summary(0.0, fixed) == (
        "fitted the classifier to the features of the trained network, 50 % of the way from the pretrained weights"
    )
