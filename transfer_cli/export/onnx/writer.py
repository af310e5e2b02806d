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

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.onnx import MAX_FILE_BYTES, missing_package
from transfer_cli.inference.formats.signature import INPUT, OUTPUT

if TYPE_CHECKING:
    from transfer_cli.export.onnx.graph_builder import GraphBuilder

OPSET = 17
IR_VERSION = 8
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


def write_onnx(
    network: keras.Model, path: Path, *, output: str = OUTPUT, metadata: Mapping[str, str] = _NO_METADATA
) -> None:
    """Write a network as an ONNX file that contains its weights.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    path : Path
    output : str
        Name of the output.
    metadata : mapping of str to str
        Metadata properties of the file.

    Raises
    ------
    ModelError
        When the network has an unsupported operation, or more than 2 GB of weights.
    MissingExtraError
        When the package onnx is not installed.
    """
    _write(network, path, output, network.output_shape[-1], metadata, lambda builder, rows: rows)


def write_onnx_with_classifier(
    features: keras.Model,
    pipeline: Any,
    path: Path,
    *,
    classes: int,
    log_prior: Sequence[float] | None = None,
    temperature: float | None = None,
    metadata: Mapping[str, str] = _NO_METADATA,
) -> None:
    """Write a network that gives features, and a scikit-learn classifier of the catalog, as one ONNX file.

    Parameters
    ----------
    features : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, width).
    pipeline : sklearn.pipeline.Pipeline
        Fitted by `classifiers.fit.fit`.
    path : Path
    classes : int
        Number of columns of the probabilities.
    log_prior : sequence of k float, or None
        See `classifiers.linear.remove_log_prior`.
    temperature : float or None
        See `calibration.temperature.apply_temperature`.
    metadata : mapping of str to str
        Metadata properties of the file.

    Raises
    ------
    ModelError
        When the network has an unsupported operation, the classifier an unsupported step, or there are more than 2 GB
        of weights.
    MissingExtraError
        When the package onnx is not installed.
    """

    def add_classifier(builder: GraphBuilder, rows: str) -> str:
        from transfer_cli.export.onnx import classifiers

        return classifiers.add_classifier(
            builder, rows, pipeline, classes=classes, log_prior=log_prior, temperature=temperature
        )

    _write(features, path, OUTPUT, classes, metadata, add_classifier)


def _write(
    network: keras.Model,
    path: Path,
    output: str,
    width: int,
    metadata: Mapping[str, str],
    add_rest: Callable[[GraphBuilder, str], str],
) -> None:
    try:
        import onnx

        from transfer_cli.export.onnx import graph_builder, layers, trees
    except ImportError as error:
        raise missing_package("onnx") from error
    size = network.input_shape[1]
    if network.count_params() * 4 > MAX_FILE_BYTES:
        raise ModelError(
            f"{network.name} has {network.count_params():,} parameters, more than the 2 GB that an ONNX file can hold."
        )
    builder = graph_builder.GraphBuilder()
    try:
        rows = layers.add_network(network, builder, graph_builder.Value(INPUT, (None, size, size, 3)))
        result = add_rest(builder, builder.to_nhwc(rows).name)
    except graph_builder.UnsupportedOperationError as error:
        raise ModelError(f"{network.name} cannot be exported to ONNX. Not supported: {error}.") from error
    builder.nodes.append(onnx.helper.make_node("Identity", [result], [output], name=output))
    versions = {"": OPSET, trees.DOMAIN: trees.OPSET}
    graph = onnx.helper.make_graph(
        builder.nodes,
        network.name,
        [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["n", size, size, 3])],
        [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["n", width])],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[
            onnx.helper.make_opsetid(domain, versions[domain])
            for domain in sorted({node.domain for node in builder.nodes})
        ],
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
