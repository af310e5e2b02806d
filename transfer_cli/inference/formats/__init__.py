"""Reading exported files: metadata, digest, ONNX, OpenVINO."""
