"""Keras networks: backbones, heads, which layers train."""
