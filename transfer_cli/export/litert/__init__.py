"""LiteRT files: int8 quantization, bias correction, metadata."""
