"""ONNX files from untrusted sources: each fault is found before ONNX Runtime opens the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from transfer_cli.errors import ModelError
from transfer_cli.inference.formats.onnx import check_onnx, open_onnx, read_metadata

Fault = Callable[[Any], object]


def valid_model() -> Any:
    """Return a small graph with the signature of an export: the mean of each channel."""
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["means"], name="mean", axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["probabilities"], name="scaled"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 4, 4, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.full(3, 1 / 255, np.float32), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _make_external(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _external_constant(model: Any) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    _make_external(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=tensor))


def _nested(depth: int, inner: Any) -> Any:
    """Return a node with `depth` nested subgraphs, the innermost of which contains the node `inner`."""
    for _ in range(depth):
        graph = helper.make_graph([inner], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])])
        inner = helper.make_node("If", ["condition"], ["x"], name="branch", then_branch=graph, else_branch=graph)
    return inner


def _nested_external_constant(model: Any) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    _make_external(tensor)
    model.graph.node.append(_nested(3, helper.make_node("Constant", [], ["x"], value=tensor)))


def _nested_custom_node(model: Any) -> None:
    model.graph.node.append(_nested(3, helper.make_node("Run", [], ["x"], name="run", domain="evil")))


def _sparse(model: Any) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "values")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))


def _function(model: Any) -> None:
    node = helper.make_node("Own", ["x"], ["y"], domain="own")
    model.functions.append(helper.make_function("own", "Own", ["x"], ["y"], [node], [helper.make_opsetid("own", 1)]))


def _shape(*shape: Any, of: str = "input", kind: int = TensorProto.UINT8, name: str = "images") -> Fault:
    def change(model: Any) -> None:
        values = getattr(model.graph, of)
        del values[:]
        values.append(helper.make_tensor_value_info(name, kind, shape))

    return change


FAULTS: dict[str, tuple[Fault, str]] = {
    "external weights": (
        lambda model: _make_external(model.graph.initializer[0]),
        r"another file \(\.\./\.\./\.\./etc",
    ),
    "location without the flag": (
        lambda model: model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"),
        r"another file \(/etc/passwd\)",
    ),
    "flag without a location": (
        lambda model: setattr(model.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
        r"another file \(unnamed\)",
    ),
    "external constant": (_external_constant, "another file"),
    "nested external constant": (_nested_external_constant, "another file"),
    "sparse weights": (_sparse, "sparse weights"),
    "custom domain": (lambda model: model.opset_import.append(helper.make_opsetid("evil", 1)), "of the domain 'evil'"),
    "custom node": (
        lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"),
        "of the domain 'com.microsoft'",
    ),
    "nested custom node": (_nested_custom_node, "'run' is a Run of the domain 'evil'"),
    "function": (_function, "functions"),
    "training": (lambda model: model.training_info.add(), "training information"),
    "nested subgraphs": (
        lambda model: model.graph.node.append(_nested(9, helper.make_node("Identity", ["scale"], ["x"]))),
        "more than 4 deep",
    ),
    "loop": (lambda model: setattr(model.graph.node[0], "op_type", "Loop"), "a Loop, which may run forever"),
    "no graph": (lambda model: model.ClearField("graph"), "no graph"),
    "other input name": (_shape("n", 4, 4, 3, name="image"), "expected one input images"),
    "float input": (_shape("n", 4, 4, 3, kind=TensorProto.FLOAT), "received: images, float of"),
    "fixed batch size": (_shape(1, 4, 4, 3), "expected one input"),
    "not square": (_shape("n", 4, 5, 3), "expected one input"),
    "free size": (_shape("n", "h", "w", 3), "expected one input"),
    "one channel": (_shape("n", 4, 4, 1), "expected one input"),
    "no shape": (_shape(), "expected one input"),
    "two inputs": (
        lambda model: model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
        "more, float of",
    ),
    "other output name": (_shape("n", 3, of="output", kind=1, name="means"), "expected one output probabilities"),
    "output of rank 3": (_shape("n", 2, 2, of="output", kind=1, name="probabilities"), "expected one output"),
}


def test_open_onnx_valid_file_runs(tmp_path: Path) -> None:
    model = valid_model()
    helper.set_model_props(model, {"classes": "a, b, c"})
    onnx.save(model, tmp_path / "a.onnx")
    check_onnx(tmp_path / "a.onnx")
    assert read_metadata(tmp_path / "a.onnx") == {"classes": "a, b, c"}
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    np.testing.assert_allclose(open_onnx(tmp_path / "a.onnx")(images), images.mean(axis=(1, 2)) / 255, rtol=1e-5)


@pytest.mark.parametrize("name", FAULTS)
def test_open_onnx_fault_is_rejected(name: str, tmp_path: Path) -> None:
    change, reason = FAULTS[name]
    model = valid_model()
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=f"was rejected before it was run: .*{reason}"):
        open_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize("data", [b"", b"\x08", b"ONNX and nothing else", b"\x3a" * 4000], ids=range(4))
def test_open_onnx_other_content_is_rejected(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"not a valid ONNX file|contains no graph"):
        open_onnx(tmp_path / "a.onnx")


def test_open_onnx_truncated_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(valid_model().SerializeToString()[:-30])
    with pytest.raises(ModelError, match="not a valid ONNX file"):
        open_onnx(tmp_path / "a.onnx")


def test_open_onnx_unknown_operation_is_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = valid_model()
    model.graph.node[1].op_type = "NoSuchOperation"
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="cannot be opened by ONNX Runtime"):
        open_onnx(tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")


def test_read_metadata_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be read: No such file"):
        read_metadata(tmp_path / "a.onnx")


def test_check_onnx_larger_than_2_gb_is_rejected(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelError, match=r"it has 2,147,483,648 bytes"):
        check_onnx(tmp_path / "a.onnx")


def test_open_onnx_imports_nothing_heavy(tmp_path: Path) -> None:
    onnx.save(valid_model(), tmp_path / "a.onnx")
    program = (
        "import sys; from pathlib import Path; from transfer_cli.inference.formats.onnx import open_onnx\n"
        f"open_onnx(Path({str(tmp_path / 'a.onnx')!r}))\n"
        "print([n for n in ('tensorflow', 'keras', 'sklearn', 'skops') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_open_onnx_other_size_than_its_metadata_is_rejected(tmp_path: Path) -> None:
    onnx.save(valid_model(), tmp_path / "a.onnx")
    side = check_onnx(tmp_path / "a.onnx")
    open_onnx(tmp_path / "a.onnx", size=side)
    with pytest.raises(ModelError, match=f"says images of 2048 x 2048 pixels, its network takes {side} x {side}"):
        open_onnx(tmp_path / "a.onnx", size=2048)
