"""The messages of CLIP-as-service's clients (jina, docarray 0.x) in protobuf.

Only field numbers and types travel, so each table below is a message as those clients know it. The
classes are built when this module is imported: nothing is generated, and any protobuf runtime does.
"""

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.message import DecodeError

from common.errors import BadRequest

Message = Any
"""A protobuf message of this module; its attributes are the fields of the tables."""

PACKAGE = "clip_search.gateway"
STRUCT, TIMESTAMP = ".google.protobuf.Struct", ".google.protobuf.Timestamp"
Table = dict[int, str]

TABLES: dict[str, Table] = {
    "DenseNdArray": {1: "bytes buffer", 2: "uint32* shape", 3: "string dtype"},
    "NdArray": {
        1: "DenseNdArray content/dense",
        3: "string cls_name",
        4: f"{STRUCT} parameters",
    },
    "NamedScore": {
        1: "float value",
        2: "string op_name",
        3: "string description",
        4: "string ref_id",
    },
    "Document": {
        1: "string id",
        2: "bytes content/blob",
        3: "NdArray content/tensor",
        4: "string content/text",
        5: "uint32 granularity",
        6: "uint32 adjacency",
        7: "string parent_id",
        8: "float weight",
        9: "string uri",
        10: "string modality",
        11: "string mime_type",
        12: "float offset",
        13: "float* location",
        14: "Document* chunks",
        15: "Document* matches",
        16: "NdArray embedding",
        17: f"{STRUCT} tags",
        18: "map/NamedScore scores",
        19: "map/NamedScore evaluations",
        20: f"{STRUCT} _metadata",
    },
    "DocumentArray": {1: "Document* docs"},
    "ErrorDetails": {
        1: "string name",
        2: "string* args",
        3: "string* stacks",
        4: "string executor",
    },
    "Status": {1: "int32 code", 2: "string description", 3: "ErrorDetails exception"},
    "Route": {
        1: "string executor",
        2: f"{TIMESTAMP} start_time",
        3: f"{TIMESTAMP} end_time",
        4: "Status status",
    },
    "Header": {
        1: "string request_id",
        2: "Status status",
        3: "string exec_endpoint",
        4: "string target_executor",
        5: "uint32 timeout",
    },
    "Data": {1: "DocumentArray documents/docs", 2: "bytes documents/docs_bytes"},
    "DataRequest": {
        1: "Header header",
        2: f"{STRUCT} parameters",
        3: "Route* routes",
        4: "Data data",
    },
}
"""By number: the type, `*` where it is repeated, and the name after the oneof that it is part of.

`map/` before a type: a map of strings to it.
"""

_Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "uint32": _Field.TYPE_UINT32,
}


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, line: str) -> None:
    kind, _, name = line.partition(" ")
    oneof, _, name = name.rpartition("/")
    kind, is_repeated = kind.rstrip("*"), kind.endswith("*")
    if kind.startswith("map/"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "string key")
        _add_field(entry, 2, f"{kind.removeprefix('map/')} value")
        kind, is_repeated = f".{PACKAGE}.{message.name}.{entry.name}", True
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = kind if kind.startswith(".") else f".{PACKAGE}.{kind}"
    if oneof:
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof)
        field.oneof_index = 0


def _classes() -> dict[str, Message]:
    """The class of each table."""
    file = descriptor_pb2.FileDescriptorProto(
        name="clip_search/gateway.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name],
    )
    for name, table in TABLES.items():
        message = file.message_type.add(name=name)
        for number, line in table.items():
            _add_field(message, number, line)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    found = [pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in TABLES]
    return {
        name: message_factory.GetMessageClass(descriptor)
        for name, descriptor in zip(TABLES, found, strict=True)
    }


_made = _classes()
DataRequest, Document, Status = _made["DataRequest"], _made["Document"], _made["Status"]

SUCCESS, ERROR = 0, 1
"""The codes of a Status."""


def read_request(data: bytes) -> Message:
    """The DataRequest in some bytes; raises BadRequest."""
    try:
        request = DataRequest.FromString(data)
    except DecodeError:
        raise BadRequest("this is no DataRequest of CLIP-as-service's client") from None
    return request
