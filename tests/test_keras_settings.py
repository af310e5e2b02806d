"""A person's keras.json and KERAS_BACKEND change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from transfer_cli.quiet_imports import import_tensorflow
import_tensorflow()
import keras
print(keras.config.floatx(), keras.config.image_data_format(), keras.config.backend(), keras.config.epsilon())
print(keras.config.dtype_policy().name, keras.layers.Conv2D(1, 1).data_format)
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    "settings",
    [
        json.dumps({"floatx": "float16", "epsilon": 1e-3, "backend": "jax", "image_data_format": "channels_first"}),
        json.dumps({"floatx": "float64", "nnx_enabled": True}),
        json.dumps({"floatx": "int8"}),
        json.dumps({"epsilon": "small", "image_data_format": 7}),
        "[1]",
        "[" * 100_000,
        "not JSON",
    ],
    ids=["float16", "float64", "int8", "wrong types", "list", "deep", "text"],
)
def test_import_tensorflow_ignores_keras_json(settings: str, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(settings)
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.split() == ["float32", "channels_last", "tensorflow", "1e-07", "float32", "channels_last"], done
    assert (tmp_path / "keras.json").read_text() == settings


@pytest.mark.integration
def test_import_tensorflow_ignores_settings_in_variables(tmp_path: Path) -> None:
    settings = {"KERAS_NNX_ENABLED": "true", "KERAS_MAX_EPOCHS": "one", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    environment = {**os.environ, **settings, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.split() == ["float32", "channels_last", "tensorflow", "1e-07", "float32", "channels_last"], done
