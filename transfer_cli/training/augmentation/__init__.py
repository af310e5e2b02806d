"""Augmentation: the images that the network sees in each epoch (ImageDataGenerator, RandAugment, MixUp, CutMix)."""
