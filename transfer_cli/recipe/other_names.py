"""What settings of Keras, ultralytics, fastai and timm are called in a recipe, or why a recipe does not have them."""

from __future__ import annotations

from collections.abc import Mapping

LAST_STAGE = "stage.last"
"""Stands for the last stage of a recipe, in names of settings; ``--set stage.last.epochs=3`` is possible."""
CHOOSE_DEVICE = (
    "The environment variable CUDA_VISIBLE_DEVICES chooses the device: -1 uses the CPU, 0 the first GPU; without it "
    "all GPUs are used, or the CPU if there is none."
)
_NAMES = {
    "batch_size": "batch batchsize bs batch_sz train_batch_size",
    "seed": "random_state random_seed rng_seed manual_seed",
    "images.size": "imgsz image_size img_size target_size input_size input_shape image_shape img_height "
    "img_width image_height image_width resolution res crop_size item_tfms",
    "images.resize": "interpolation crop_to_aspect_ratio pad_to_aspect_ratio keep_aspect_ratio rect letterbox crop_pct",
    "split.val": "validation_split val_split valid_split val_size valid_pct val_pct validation_size val_ratio",
    "split.test": "test_size test_split test_pct test_ratio",
    "split.group_by": "groups group group_column",
    "backbone.name": "model arch architecture network base_model backbone_name model_name encoder",
    "backbone.weights": "pretrained checkpoint weights_path initial_checkpoint",
    "backbone.pooling": "pool global_pool gp",
    "backbone.layer": "output_layer feature_layer layer_name cut",
    "classifier.name": "classifier_name estimator",
    "classifier.tune": "c regularization regularisation hyperparameters hyperparameter_tune_kwargs",
    "head.kind": "head_type top custom_head",
    "head.units": "hidden hidden_units hidden_size dense_units lin_ftrs num_neurons",
    "head.batch_norm": "batchnorm batch_normalization batch_normalisation use_bn bn_final",
    "head.dropout": "dropout drop drop_rate dropout_rate ps",
    "head.l2": "kernel_regularizer l2_reg weight_penalty",
    "stage.last.unfreeze": "trainable trainable_layers unfreeze_layers bitfit",
    "stage.last.epochs": "epochs epoch num_epochs n_epochs max_epochs nb_epoch n_epoch iterations max_iter",
    "stage.last.learning_rate": "lr learning_rate lr0 base_lr init_lr initial_lr max_lr lr_max eta "
    "initial_learning_rate",
    "stage.last.optimizer": "opt optim optimiser solver",
    "stage.last.momentum": "moms mom",
    "stage.last.weight_decay": "wd weightdecay",
    "stage.last.schedule": "scheduler sched lr_scheduler lr_schedule learning_rate_schedule cos_lr lrf min_lr "
    "reduce_lr_on_plateau reduce_lr",
    "stage.last.warmup": "warmup_epochs warmup_steps warmup_ratio pct_start warmup_lr",
    "stage.last.plateau_factor": "factor lr_factor",
    "stage.last.inverse_time_decay": "decay decay_rate lr_decay inverse_time",
    "stage.last.gradient_clip": "clipnorm global_clipnorm clipvalue clip_grad grad_clip gradient_clip_val "
    "max_grad_norm",
    "stage.last.ema": "use_ema ema_momentum model_ema ema_decay",
    "stage.last.label_smoothing": "smoothing",
    "stage.last.layer_decay": "layer_wise_decay discriminative_lr llrd",
    "early_stopping.patience": "patience early_stopping_patience early_stop earlystopping stop_patience",
    "early_stopping.monitor": "monitor eval_metric metric_for_best_model",
    "balance.method": "class_weight class_weights sample_weight sampler weighted_sampler oversample balanced "
    "auto_balance focal_loss",
    "hardware.precision": "dtype amp half fp16 bf16 mixed_precision precision to_fp16",
    "hardware.accumulate": "grad_accum gradient_accumulation_steps gradient_accumulation accumulation_steps "
    "grad_accum_steps nbs accumulate_grad_batches",
    "hardware.gpus": "num_gpus n_gpus",
    "inference.runtime": "engine backend",
    "augmentation.rotation_range": "rotation degrees rotate max_rotate random_rotation",
    "augmentation.width_shift_range": "translate shift width_shift random_translation",
    "augmentation.height_shift_range": "height_shift",
    "augmentation.shear_range": "shear max_warp",
    "augmentation.zoom_range": "zoom scale max_zoom random_zoom",
    "augmentation.brightness_range": "brightness hsv_v max_lighting random_brightness",
    "augmentation.channel_shift_range": "channel_shift",
    "augmentation.random_crop": "random_crop rand_crop",
    "augmentation.random_resized_crop": "random_resized_crop random_sized_crop random_crop_and_resize rrc "
    "inception_crop min_scale",
    "augmentation.crop_ratio": "crop_ratio ratio aspect_ratio",
    "augmentation.hue": "hue hsv_h random_hue hue_shift_limit hue_shift hue_saturation_value",
    "augmentation.saturation": "saturation hsv_s random_saturation sat_shift_limit color_jitter colour_jitter",
    "augmentation.horizontal_flip": "fliplr hflip do_flip flip random_flip mirror",
    "augmentation.vertical_flip": "flipud vflip flip_vert",
    "augmentation.random_erasing": "erasing reprob cutout random_erase",
    "augmentation.randaugment": "auto_augment aa rand_augment trivial_augment augmix",
    "augmentation.mixup": "mixup_alpha",
    "augmentation.cutmix": "cutmix_alpha",
}
_PREPROCESSING = (
    "Preprocessing is inside the model: each network scales the pixels as it was pretrained. Leave this setting out."
)
_DEVICE = "device devices gpu use_gpu no_gpu cpu use_cpu cuda no_cuda accelerator"
_FREEZE = (
    "In other programs this counts the frozen layers, from the input. Here a stage of finetune names the layers that "
    "are trained: stage.N.unfreeze = from:LAYER (this layer and all above it), last:N (the last N layers), all, "
    "norms-and-biases, or head (the head only). For example: --set stage.N.unfreeze=head. The layers: transfer-cli "
    "backbones show NAME."
)
_REASONS = {
    "freeze freeze_layers frozen_layers freeze_epochs freeze_to fine_tune_at": _FREEZE,
    _DEVICE: f"{CHOOSE_DEVICE} For example: CUDA_VISIBLE_DEVICES=-1 transfer-cli {{method}} FOLDER",
    "preprocessing preprocess preprocess_input": _PREPROCESSING,
    "rescale rescaling scaling": f"{_PREPROCESSING} Images are given as they are, with values from 0 to 255.",
    "preprocessing_function": f"{_PREPROCESSING} A recipe holds no functions: change the images in their files before.",
    "normalize normalise normalisation mean std standardize": f"{_PREPROCESSING} A network that is trained from random "
    "weights can be given further layers: see [normalization].",
    "zca_whitening zca_epsilon": "ZCA whitening would need a matrix with the squared number of pixels of an image in "
    "the model, and no pretrained network expects it. For a network that is trained from random weights: --set "
    "normalization.featurewise_std_normalization=true.",
    "interpolation_order": "Transformed images are always interpolated linearly. Leave this setting out.",
    "data_format channels color_mode colour_mode": "Images are always read as RGB with the channels last; grey images "
    "become RGB. Leave this setting out.",
    "class_mode label_mode task problem_type loss criterion": "The loss follows from the images: cross-entropy for one "
    "class per image (sub-folders), binary cross-entropy for several (the column labels of a CSV file, as a;b).",
    "num_classes nc class_names labels n_classes n_out": "The classes are those of the images: the names of "
    "the sub-folders, or the column label of a CSV file. Leave this setting out.",
    "alpha width width_multiplier": "The width is a part of the backbone's name, such as mobilenet@0.25 "
    "(transfer-cli backbones list).",
    "include_top": "The classification head of the network is always replaced by a new one ([head]). Leave this "
    "setting out.",
    "metrics metric eval_metrics": "All metrics are computed, with intervals. The epoch is selected by "
    "early_stopping.monitor.",
    "callbacks restore_best_weights save_best_only save_best model_checkpoint min_delta": "The best epoch on the "
    "validation images is always kept, and the last one is saved. See early_stopping.patience and stage.N.schedule.",
    "shuffle": "Training images are shuffled anew in every epoch, by the seed. Leave this setting out.",
    "data dataset data_dir directory train_dir path root train_path folder": "The images are given to the command: "
    "transfer-cli {method} FOLDER.",
    "val_dir validation_data valid_dir test_dir subset": "Put the images into FOLDER/train, FOLDER/val and "
    "FOLDER/test, or give --split FILE.csv, or set split.val and split.test.",
    "steps_per_epoch validation_steps steps max_steps": "An epoch is one pass over all training images. See "
    "stage.N.epochs.",
    "workers num_workers use_multiprocessing max_queue_size n_jobs": "Images are decoded on all CPU cores. Leave this "
    "setting out.",
    "save_to_dir save_prefix save_format": "To see augmented images: transfer-cli preview FOLDER.",
    "verbose": "Use the option --quiet.",
    "name project run_name save_dir output output_dir log_dir experiment": "The run is named by the option -o RUN.",
    "exist_ok overwrite": "Use the option --overwrite.",
    "resume": "Run the same command again: an interrupted run continues.",
    "cache": "Use the option --cache-limit.",
    "time time_limit max_time": "Use the option --time-budget.",
    "presets num_trials": "To try several networks: transfer-cli auto FOLDER.",
    "kfold folds n_splits num_bag_folds": "Use the option --bags. For extract without a validation set, "
    "cross-validation is the default (split.val = 0).",
    "mosaic copy_paste perspective bgr box cls dfl multi_scale single_cls": "It is a setting of object detection; this "
    "program classifies whole images. Leave it out.",
    "deterministic": "Training on a CPU is always deterministic. Leave this setting out.",
}


def _folded(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "").replace(" ", "")


_NAME_OF: Mapping[str, str] = {_folded(word): name for name, words in _NAMES.items() for word in words.split()}
_REASON_OF: Mapping[str, str] = {_folded(word): reason for words, reason in _REASONS.items() for word in words.split()}
WORDS = (*_NAME_OF, *_REASON_OF)
"""All words that `name_of` or `reason_for` knows, folded."""


def name_of(word: str) -> str | None:
    """Return the name of the setting that `word` means, such as ``images.size`` for ``imgsz``, or None.

    Examples
    --------
    >>> name_of("lr"), name_of("Target-Size"), name_of("rescale")
    ('stage.last.learning_rate', 'images.size', None)
    """
    return _NAME_OF.get(_folded(word))


def is_device(word: str) -> bool:
    """Return whether `word` chooses the CPU or a GPU in other programs."""
    return _folded(word) in map(_folded, _DEVICE.split())


def reason_for(word: str, method: str) -> str | None:
    """Return why a recipe of the command `method` has no such setting, and what to do instead, or None."""
    reason = _REASON_OF.get(_folded(word))
    return reason and reason.format(method=method)
