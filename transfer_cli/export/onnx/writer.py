"""A Keras network becomes an ONNX file, operation by operation, from its own graph.

``model.export(format="onnx")`` goes through TensorFlow's graph and tf2onnx instead, and with tf2onnx 1.17 writes files
that no runtime opens. Constants that the preprocessing holds as tensors (means and deviations, of VGG16, DenseNet121
and EfficientNetB0 among others) count as inputs of the traced function; they are frozen to constants, and tf2onnx,
which goes by the list of inputs, makes inputs of them again. Of ConvNeXt it leaves two operations as TensorFlow has
them: the convolutions in groups, which Keras compiles by themselves, and the erfc of its GELU.

Opset 17, with its IR version 8, is the first that has layer normalisation as one operation; ONNX Runtime since 1.12 and
onnxruntime-web read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import keras

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.onnx import LARGEST, missing
from transfer_cli.inference.formats.signature import INPUT, OUTPUT

if TYPE_CHECKING:
    from transfer_cli.export.onnx.graph_builder import Drawing

OPSET = 17
IR_VERSION = 8
_NOTHING: Mapping[str, str] = MappingProxyType({})


def write_onnx(
    network: keras.Model, path: Path, *, output: str = OUTPUT, metadata: Mapping[str, str] = _NOTHING
) -> None:
    """Write a network as an ONNX graph, with its weights in it.

    Parameters
    ----------
    network : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, k).
    path : Path
    output : str
        What the rows are called.
    metadata : mapping of str to str
        What the file says of itself beside the graph.

    Raises
    ------
    ModelError
        When the network has an operation that cannot be written, or more than 2 GB of weights.
    MissingExtraError
        When the package onnx is not installed.
    """
    _write(network, path, output, network.output_shape[-1], metadata, lambda drawing, rows: rows)


def write_onnx_with_classifier(
    features: keras.Model,
    pipeline: Any,
    path: Path,
    *,
    classes: int,
    log_prior: Sequence[float] | None = None,
    temperature: float | None = None,
    metadata: Mapping[str, str] = _NOTHING,
) -> None:
    """Write a network that gives features, and a scikit-learn classifier of the catalog behind it, as one ONNX graph.

    Parameters
    ----------
    features : keras.Model
        From uint8 of shape (n, size, size, 3) to float32 of shape (n, width).
    pipeline : sklearn.pipeline.Pipeline
        As classify.fit makes it.
    path : Path
    classes : int
        How many columns probabilities have.
    log_prior : sequence of k float, or None
        See linear.less_common.
    temperature : float or None
        See calibration.tempered.
    metadata : mapping of str to str
        What the file says of itself beside the graph.

    Raises
    ------
    ModelError
        When the network has an operation, or the classifier a step, that cannot be written; or there are more than 2 GB
        of weights.
    MissingExtraError
        When the package onnx is not installed.
    """

    def classified(drawing: Drawing, rows: str) -> str:
        from transfer_cli.export.onnx.classifiers import draw_classifier

        return draw_classifier(drawing, rows, pipeline, classes=classes, log_prior=log_prior, temperature=temperature)

    _write(features, path, OUTPUT, classes, metadata, classified)


def _write(
    network: keras.Model,
    path: Path,
    output: str,
    width: int,
    metadata: Mapping[str, str],
    behind: Callable[[Drawing, str], str],
) -> None:
    try:
        import onnx

        from transfer_cli.export.onnx import graph_builder, layers, trees
    except ImportError as error:
        raise missing("onnx") from error
    size = network.input_shape[1]
    if network.count_params() * 4 > LARGEST:
        raise ModelError(f"{network.name} has {network.count_params():,} parameters; an ONNX file holds 2 GB of them.")
    drawing = graph_builder.Drawing()
    try:
        rows = layers.draw(network, drawing, graph_builder.Value(INPUT, (None, size, size, 3)))
        drawn = behind(drawing, drawing.straight(rows).name)
    except graph_builder.UnknownOperationError as error:
        raise ModelError(f"{network.name} cannot be written as ONNX: {error}, which has no form there.") from error
    drawing.nodes.append(onnx.helper.make_node("Identity", [drawn], [output], name=output))
    versions = {"": OPSET, trees.DOMAIN: trees.OPSET}
    graph = onnx.helper.make_graph(
        drawing.nodes,
        network.name,
        [onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["n", size, size, 3])],
        [onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["n", width])],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[
            onnx.helper.make_opsetid(domain, versions[domain])
            for domain in sorted({node.domain for node in drawing.nodes})
        ],
        ir_version=IR_VERSION,
        producer_name="transfer-cli",
    )
    onnx.helper.set_model_props(model, dict(metadata))
    while drawing.constants:
        # One at a time, since large networks would else be held twice.
        model.graph.initializer.append(drawing.constants.pop())
    onnx.save(model, path)
    del model
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # of the checker and of the inference of shapes
        path.unlink()
        raise ModelError(f"{network.name} cannot be written as ONNX: the graph is not valid: {error}") from error
