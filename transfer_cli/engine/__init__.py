"""Where Keras, TensorFlow, scikit-learn and the inference runtimes live."""

from __future__ import annotations

import os

# TensorFlow's C++ side reads these once, at its first import: without them it writes a dozen lines to stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
