"""Timings of a fine-tuning, from which a plan is computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageTiming:
    """Cost of one stage, in seconds and bytes.

    Attributes
    ----------
    parameters : int
        Number of trainable parameters, including the head.
    frozen_shape : tuple of int or None
        Output shape of the frozen layers for one image; None if all layers are trained.
    caches_views : bool
        Whether frozen features were cached while this was timed; else each step ran the frozen layers.
    prepare_seconds : float
        Once: conversion and parity check of the frozen layers, creation of the optimizer.
    view_seconds : float
        Per augmented view: augmentation, and the frozen layers on the fastest runtime.
    frozen_seconds : float
        Per image: the frozen layers on Keras.
    compile_seconds : float
        Once: by how much the first step and the first score take longer than later ones.
    step_seconds : float
    val_seconds : float
        Per validation image.
    save_seconds : float
        Per epoch: the checkpoint.
    checkpoint_bytes : int
        Size of the last and the best checkpoint.
    """

    parameters: int
    frozen_shape: tuple[int, ...] | None
    caches_views: bool
    prepare_seconds: float
    view_seconds: float
    frozen_seconds: float
    compile_seconds: float
    step_seconds: float
    val_seconds: float
    save_seconds: float
    checkpoint_bytes: int


@dataclass(frozen=True)
class Timing:
    """Cost of a run besides its stages, in seconds and bytes.

    Attributes
    ----------
    compile_seconds : float
        Once: compilation of the backbone by Keras.
    forward_seconds : float
        Per image: the backbone on Keras.
    augment_seconds : float
        Per image, on all CPU cores.
    probe_seconds : float
        Once: fit of the linear probe; 0 if the head does not start from one.
    convert_seconds : float
        Once: conversion of the whole network for the bundle.
    stages : tuple of StageTiming
    network_bytes : int
        Weights of the backbone and the head.
    process_bytes : int
        Peak memory of this process after all of the above on a few images.
    """

    compile_seconds: float
    forward_seconds: float
    augment_seconds: float
    probe_seconds: float
    convert_seconds: float
    stages: tuple[StageTiming, ...]
    network_bytes: int
    process_bytes: int
