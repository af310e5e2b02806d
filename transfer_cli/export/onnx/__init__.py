"""ONNX files, written from the Keras graph and from scikit-learn classifiers."""
