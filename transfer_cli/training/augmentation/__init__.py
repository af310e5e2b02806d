"""What the network is shown in each epoch: ImageDataGenerator, RandAugment, MixUp."""
