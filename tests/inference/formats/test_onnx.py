"""Files that somebody else may have made: each fault is found before ONNX Runtime opens the file."""

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
from transfer_cli.inference.formats.onnx import check_onnx, metadata_of, open_onnx

Fault = Callable[[Any], object]


def good() -> Any:
    """Return a small graph as the program writes them: the mean of each channel."""
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


def _elsewhere(tensor: Any) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _elsewhere_in_a_constant(model: Any) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    _elsewhere(tensor)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["hidden"], value=tensor))


def _within(depth: int, inner: Any) -> Any:
    """Return a node that holds a graph that holds a graph, and at last a node."""
    for _ in range(depth):
        graph = helper.make_graph([inner], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])])
        inner = helper.make_node("If", ["condition"], ["x"], name="branch", then_branch=graph, else_branch=graph)
    return inner


def _elsewhere_deep_down(model: Any) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    _elsewhere(tensor)
    model.graph.node.append(_within(3, helper.make_node("Constant", [], ["x"], value=tensor)))


def _custom_deep_down(model: Any) -> None:
    model.graph.node.append(_within(3, helper.make_node("Run", [], ["x"], name="run", domain="evil")))


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
    "weights elsewhere": (lambda model: _elsewhere(model.graph.initializer[0]), r"another file \(\.\./\.\./\.\./etc"),
    "a place without saying so": (
        lambda model: model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"),
        r"another file \(/etc/passwd\)",
    ),
    "saying so without a place": (
        lambda model: setattr(model.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
        r"another file \(elsewhere\)",
    ),
    "a constant elsewhere": (_elsewhere_in_a_constant, "another file"),
    "elsewhere, deep down": (_elsewhere_deep_down, "another file"),
    "sparse weights": (_sparse, "sparse weights"),
    "a custom domain": (lambda model: model.opset_import.append(helper.make_opsetid("evil", 1)), "of 'evil'"),
    "a custom node": (lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"), "of 'com.microsoft'"),
    "a custom node, deep down": (_custom_deep_down, "'run' is a Run of 'evil'"),
    "a function": (_function, "functions"),
    "training": (lambda model: model.training_info.add(), "training steps"),
    "graphs within graphs": (
        lambda model: model.graph.node.append(_within(9, helper.make_node("Identity", ["scale"], ["x"]))),
        "more than 4 deep",
    ),
    "a loop": (lambda model: setattr(model.graph.node[0], "op_type", "Loop"), "a Loop, which need not end"),
    "no graph": (lambda model: model.ClearField("graph"), "no graph"),
    "another input": (_shape("n", 4, 4, 3, name="image"), "expected one input images"),
    "floats": (_shape("n", 4, 4, 3, kind=TensorProto.FLOAT), "received: images, float of"),
    "one picture": (_shape(1, 4, 4, 3), "expected one input"),
    "oblong": (_shape("n", 4, 5, 3), "expected one input"),
    "no size": (_shape("n", "h", "w", 3), "expected one input"),
    "one channel": (_shape("n", 4, 4, 1), "expected one input"),
    "no shape": (_shape(), "expected one input"),
    "two inputs": (
        lambda model: model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
        "more, float of",
    ),
    "another output": (_shape("n", 3, of="output", kind=1, name="means"), "expected one output probabilities"),
    "a map": (_shape("n", 2, 2, of="output", kind=1, name="probabilities"), "expected one output"),
}


def test_a_good_file(tmp_path: Path) -> None:
    model = good()
    helper.set_model_props(model, {"classes": "a, b, c"})
    onnx.save(model, tmp_path / "a.onnx")
    check_onnx(tmp_path / "a.onnx")
    assert metadata_of(tmp_path / "a.onnx") == {"classes": "a, b, c"}
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    np.testing.assert_allclose(open_onnx(tmp_path / "a.onnx")(images), images.mean(axis=(1, 2)) / 255, rtol=1e-5)


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    change, words = FAULTS[name]
    model = good()
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=f"was refused, and nothing of it was run: .*{words}"):
        open_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize("data", [b"", b"\x08", b"ONNX and nothing else", b"\x3a" * 4000], ids=range(4))
def test_what_is_no_onnx_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=r"not an ONNX file that can be read|holds no graph"):
        open_onnx(tmp_path / "a.onnx")


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(good().SerializeToString()[:-30])
    with pytest.raises(ModelError, match="not an ONNX file that can be read"):
        open_onnx(tmp_path / "a.onnx")


def test_a_graph_that_cannot_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = good()
    model.graph.node[1].op_type = "NoSuchOperation"
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="cannot be opened by ONNX Runtime"):
        open_onnx(tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be read: No such file"):
        metadata_of(tmp_path / "a.onnx")


def test_more_than_a_file_can_hold(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelError, match=r"it has 2,147,483,648 bytes"):
        check_onnx(tmp_path / "a.onnx")


def test_opening_a_file_imports_nothing_heavy(tmp_path: Path) -> None:
    onnx.save(good(), tmp_path / "a.onnx")
    program = (
        "import sys; from pathlib import Path; from transfer_cli.inference.formats.onnx import open_onnx\n"
        f"open_onnx(Path({str(tmp_path / 'a.onnx')!r}))\n"
        "print([n for n in ('tensorflow', 'keras', 'sklearn', 'skops') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
