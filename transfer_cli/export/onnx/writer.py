"""Write a Keras network as an ONNX file, operation by operation, from its own graph.

Existing converters fail on backbones of the catalog:

- ``model.export(format="onnx")`` uses tf2onnx 1.17 on TensorFlow's graph, and writes files that no runtime opens. It
  turns constants of the preprocessing (means and deviations of VGG16, DenseNet121, EfficientNetB0 and others) into
  inputs, and leaves two operations of ConvNeXt in TensorFlow's form: grouped convolutions and the erfc of its GELU.
- ``tf2onnx.convert.from_tflite`` gives the right output for MobileNet, MobileNetV3, EfficientNetB0, VGG16 and
  ResNet50V2, but fails for ConvNeXt ("No Op registered for TFL_GELU"), and transposes the maps of MobileNetV3 36 times.

Opset 17 with IR version 8 is the first that has layer normalization as one operation; ONNX Runtime reads it since 1.12,
and so does onnxruntime-web.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.onnx import MAX_FILE_BYTES, import_package
from transfer_cli.inference.formats.signature import INPUT, OUTPUT

OPSET = 17
IR_VERSION = 8
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


def write_onnx(
    network: keras.Model,
    path: Path,
    *,
    metadata: Mapping[str, str] = _NO_METADATA,
    pipeline: Any = None,
    classes: int = 0,
    log_prior: Sequence[float] | None = None,
    temperature: float | None = None,
) -> None:
    """Write a network, and a scikit-learn classifier of the catalog if there is one, as an ONNX file with its weights.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to probabilities, float32 of shape (n, k); with a classifier to its
        features.
    path : Path
    metadata : mapping of str to str
        Metadata properties of the file.
    pipeline : sklearn.pipeline.Pipeline, optional
        The classifier, fitted by `classifiers.fit.fit`. The following parameters apply to it.
    classes : int
        Number of columns of the probabilities.
    log_prior : sequence of k float, or None
        See `classifiers.linear.remove_log_prior`.
    temperature : float or None
        See `calibration.temperature.apply_temperature`.

    Raises
    ------
    ModelError
        When the network has an unsupported operation, the classifier an unsupported step, or there are more than 2 GB
        of weights.
    MissingExtraError
        When the package onnx is not installed.
    """
    onnx = import_package("onnx")
    from transfer_cli.export.onnx import classifiers, graph_builder, layers, trees

    size = network.input_shape[1]
    if network.count_params() * 4 > MAX_FILE_BYTES:
        raise ModelError(
            f"{network.name} has {network.count_params():,} parameters, more than the 2 GB that an ONNX file can hold."
        )
    builder = graph_builder.GraphBuilder()
    try:
        value = layers.add_network(network, builder, graph_builder.Value(INPUT, (None, size, size, 3)))
        result = builder.to_nhwc(value).name
        if pipeline is not None:
            result = classifiers.add_classifier(
                builder, result, pipeline, classes=classes, log_prior=log_prior, temperature=temperature
            )
    except graph_builder.UnsupportedOperationError as error:
        raise ModelError(f"{network.name} cannot be exported to ONNX. Not supported: {error}.") from error
    builder.nodes.append(onnx.helper.make_node("Identity", [result], [OUTPUT], name=OUTPUT))
    versions = {"": OPSET, trees.DOMAIN: trees.OPSET}
    images, probabilities = ["n", size, size, 3], ["n", network.output_shape[-1] if pipeline is None else classes]
    graph = onnx.helper.make_graph(
        builder.nodes,
        network.name,
        [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, images)],
        [onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, probabilities)],
    )
    domains = sorted({node.domain for node in builder.nodes})
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(domain, versions[domain]) for domain in domains],
        ir_version=IR_VERSION,
        producer_name="transfer-cli",
    )
    onnx.helper.set_model_props(model, dict(metadata))
    while builder.constants:
        # One at a time: otherwise the weights of a large network would be in memory twice.
        model.graph.initializer.append(builder.constants.pop())
    onnx.save(model, path)
    del model
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker and the shape inference have errors of their own
        path.unlink()
        raise ModelError(f"{network.name} cannot be exported to ONNX: the graph is not valid: {error}") from error
