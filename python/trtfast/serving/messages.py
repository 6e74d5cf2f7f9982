"""Messages of Triton's part of the protocol, which KServe's has not, or numbers otherwise.

By the fields' numbers and types; the names of the messages are this module's own, since a process
that has KServe's cannot have Triton's.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_messages

__all__ = ["Change", "Index", "IndexRequest", "Nothing", "Streamed"]

_PACKAGE = "trtfast.serving"
_FILE = descriptor_pb2.FileDescriptorProto(
    name="trtfast/serving.proto",
    package=_PACKAGE,
    syntax="proto3",
    dependency=[kserve_messages.DESCRIPTOR.name],
)
_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _BOOL = _Field.TYPE_STRING, _Field.TYPE_BOOL


def _message(name: str, /, **fields: Any) -> None:
    """Add a message of fields in order: of a plain type, of a message, or many of a message."""
    message = _FILE.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
        if isinstance(kind, tuple):
            added.label, (kind,) = _Field.LABEL_REPEATED, kind
        if isinstance(kind, str):
            added.type, added.type_name = _Field.TYPE_MESSAGE, kind
        else:
            added.type = kind


_message("Nothing")
_message("Streamed", error_message=_STRING, infer_response=".inference.ModelInferResponse")
_message("IndexRequest", repository_name=_STRING, ready=_BOOL)
_message("Model", name=_STRING, version=_STRING, state=_STRING, reason=_STRING)
_message("Index", models=(f".{_PACKAGE}.Model",))
# Of a map, what matters is which keys there are.
_message("Parameter", key=_STRING)
_message(
    "Change", repository_name=_STRING, model_name=_STRING, parameters=(f".{_PACKAGE}.Parameter",)
)


def _class(name: str) -> Any:
    found = descriptor_pool.Default().FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(found)


descriptor_pool.Default().AddSerializedFile(_FILE.SerializeToString())

Nothing = _class("Nothing")
Streamed = _class("Streamed")
"""An answer in a stream: what was wrong, or the response."""
IndexRequest = _class("IndexRequest")
Index = _class("Index")
"""The models of a repository: name, version, state and reason of each."""
Change = _class("Change")
"""Asks for a model to be loaded or unloaded."""
