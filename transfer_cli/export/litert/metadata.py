"""Metadata in a LiteRT file, as the format defines it: see ai.google.dev/edge/litert/models/metadata.

The class names are a text file in an archive appended to the graph; a table of the format (``TFLITE_METADATA``) names
them as the labels of the output. The metadata of transfer-cli is in the same archive.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools.flatbuffer_utils import convert_bytearray_to_object, convert_object_to_bytearray

from transfer_cli.inference.formats.metadata import ExportMetadata
from transfer_cli.inference.formats.signature import INPUT, OUTPUT
from transfer_cli.inference.formats.zip_metadata import add_metadata
from transfer_cli.io.untrusted.names import LABELS_FILE

_FILE_IDENTIFIER = b"M001"
# Values of enumerations in metadata_schema.fbs: ColorSpaceType.RGB, ContentProperties.ImageProperties,
# AssociatedFileType.TENSOR_AXIS_LABELS.
_RGB, _IMAGE, _AXIS_LABELS = 1, 2, 2


def with_metadata(graph: bytes, metadata: ExportMetadata) -> bytes:
    """Return a LiteRT graph, which has one input and one output, with a signature and metadata."""
    model = convert_bytearray_to_object(graph)
    model.description = f"transfer-cli {metadata.version}, {metadata.backbone}".encode()
    model.signatureDefs = [signature_of(model)]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_metadata_table(metadata))
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    file = BytesIO(bytes(convert_object_to_bytearray(model)))
    add_metadata(file, metadata)
    return file.getvalue()


def signature_of(model: Any) -> Any:
    """Return a signature that gives the input and the output of a model their standard names."""
    subgraph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    for name, place in ((INPUT, "inputs"), (OUTPUT, "outputs")):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(getattr(subgraph, place)[0])
        setattr(signature, place, [entry])
    return signature


def _metadata_table(metadata: ExportMetadata) -> bytes:
    """Return the table ModelMetadata; the keys below are the positions of the fields in metadata_schema.fbs."""
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString
    size = _table(builder, {}, numbers={0: metadata.image_size, 1: metadata.image_size})
    properties = _table(builder, {1: size}, bytes_={0: _RGB})
    content = _table(builder, {1: properties}, bytes_={0: _IMAGE})
    description = f"RGB, 0 to 255; resize mode: {metadata.resize}"
    images = _table(builder, {0: text(INPUT), 1: text(description), 3: content})
    labels = _table(builder, {0: text(LABELS_FILE), 1: text("class names")}, bytes_={2: _AXIS_LABELS})
    files = _vector(builder, [labels])
    description = f"{metadata.task}: one probability per class"
    probabilities = _table(builder, {0: text(OUTPUT), 1: text(description), 6: files})
    subgraph = _table(builder, {2: _vector(builder, [images]), 3: _vector(builder, [probabilities])})
    model = _table(
        builder,
        {
            0: text(f"{metadata.backbone} by transfer-cli"),
            1: text(f"{len(metadata.class_names)} classes; bundle {metadata.bundle}"),
            2: text(metadata.version),
            3: _vector(builder, [subgraph]),
            7: text("1.0.0"),
        },
    )
    builder.Finish(model, _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _table(
    builder: Any,
    offsets: dict[int, int],
    *,
    numbers: dict[int, int] | None = None,
    bytes_: dict[int, int] | None = None,
) -> int:
    """Write a table of offsets, 32-bit numbers and bytes; return its offset."""
    slots = (
        (builder.PrependUOffsetTRelativeSlot, offsets),
        (builder.PrependUint32Slot, numbers or {}),
        (builder.PrependUint8Slot, bytes_ or {}),
    )
    builder.StartObject(max(max(fields, default=0) for _, fields in slots) + 1)
    for prepend, fields in slots:
        for position, value in fields.items():
            prepend(position, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
