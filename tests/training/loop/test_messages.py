"""Messages of a fine-tuning."""

from __future__ import annotations

from transfer_cli.training.loop.messages import hardware_summary


def test_hardware_summary_names_what_is_not_the_default() -> None:
    assert hardware_summary([], "float32") == ""
    assert hardware_summary([], "mixed_bfloat16") == "training on the CPU in mixed_bfloat16"
    gpus = ["/device:GPU:0", "/device:GPU:1"]
    assert hardware_summary(gpus, "float32") == "training on GPU:0 and GPU:1 in float32"
