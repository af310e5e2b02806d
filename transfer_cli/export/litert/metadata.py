"""What a LiteRT file says of itself, in the way of its format, see ai.google.dev/edge/litert/models/metadata.

The class names are a text file in an archive behind the graph; a table of the format (``TFLITE_METADATA``) says that
they are the labels of the output. The facts of this program lie beside them.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from transfer_cli.inference.formats.metadata import ExportedFacts
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.formats.zip_metadata import add_facts
from transfer_cli.io.untrusted.names import LABELS

_FORMAT = "TFLITE_METADATA"
_VERSION_OF_METADATA = b"M001"
_RGB, _IMAGE, _LABELS_OF_AXIS = 1, 2, 2
_SIGNATURE = "serving_default"


def with_metadata(graph: bytes, facts: ExportedFacts) -> bytes:
    """Return a LiteRT graph that says what it takes and gives.

    Parameters
    ----------
    graph : bytes
        With one input and one output.
    facts : ExportedFacts
    """
    model = schema.ModelT.InitFromPackedBuf(graph, 0)
    model.description = f"transfer-cli {facts.version}, {facts.backbone}".encode()
    model.signatureDefs = [_signature(model)]
    _add(model, _FORMAT, _table(facts))
    builder = flatbuffers.Builder(len(graph) + 65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    whole = BytesIO(bytes(builder.Output()))
    add_facts(whole, facts)
    return whole.getvalue()


def _signature(model: Any) -> Any:
    """Return the names of input and output, which the converter calls as it likes."""
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE.encode(), 0
    signature.inputs, signature.outputs = [], []
    for name, tensors, places in ((INPUT, graph.inputs, signature.inputs), (OUTPUT, graph.outputs, signature.outputs)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(tensors[0])
        places.append(entry)
    return signature


def _add(model: Any, name: str, data: bytes) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(data)
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def _table(facts: ExportedFacts) -> bytes:
    """Return the format's own table, by the fields of its metadata_schema.fbs: their numbers are their places there."""
    build = flatbuffers.Builder(1024)
    size = _object(build, {0: facts.image_size, 1: facts.image_size}, numbers="Uint32")
    properties = _object(build, {1: size}, bytes_={0: _RGB})
    content = _object(build, {1: properties}, bytes_={0: _IMAGE})
    given = _object(
        build,
        {
            0: build.CreateString(INPUT),
            1: build.CreateString(f"RGB, 0 to 255; a picture becomes the square by: {facts.resize}"),
            3: content,
        },
    )
    labels = _object(
        build, {0: build.CreateString(LABELS), 1: build.CreateString("class names")}, bytes_={2: _LABELS_OF_AXIS}
    )
    files = _vector(build, [labels])
    result = _object(
        build,
        {0: build.CreateString(OUTPUT), 1: build.CreateString(f"{facts.task}: a probability a class"), 6: files},
    )
    graph = _object(build, {2: _vector(build, [given]), 3: _vector(build, [result])})
    whole = _object(
        build,
        {
            0: build.CreateString(f"{facts.backbone} by transfer-cli"),
            1: build.CreateString(f"{len(facts.class_names)} classes; bundle {facts.bundle}"),
            2: build.CreateString(facts.version),
            3: _vector(build, [graph]),
            7: build.CreateString("1.0.0"),
        },
    )
    build.Finish(whole, _VERSION_OF_METADATA)
    return bytes(build.Output())


def _object(build: Any, fields: dict[int, int], *, bytes_: dict[int, int] | None = None, numbers: str = "") -> int:
    """Write a table: references to what was written before, or numbers of one kind, and bytes."""
    build.StartObject(max([*fields, *(bytes_ or {})]) + 1)
    for place, value in fields.items():
        if numbers:
            getattr(build, f"Prepend{numbers}Slot")(place, value, 0)
        else:
            build.PrependUOffsetTRelativeSlot(place, value, 0)
    for place, value in (bytes_ or {}).items():
        build.PrependUint8Slot(place, value, 0)
    return int(build.EndObject())


def _vector(build: Any, tables: list[int]) -> int:
    build.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        build.PrependUOffsetTRelative(table)
    return int(build.EndVector())
