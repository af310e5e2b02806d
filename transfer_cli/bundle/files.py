"""Names of the files of a bundle."""

from __future__ import annotations

MANIFEST = "bundle.json"
BACKBONE_FILE = "backbone.keras"
CLASSIFIER_FILE = "classifier.skops"
LINEAR_FILE = "linear.npz"
NETWORK_FILE = "network.keras"
GRAPH_FILE = "graph.tflite"
TRAINING_IMAGES_FILE = "training_images.npz"
MODEL_CARD_FILE = "MODEL_CARD.md"
