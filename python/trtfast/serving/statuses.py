"""What the protocols call an error: a status of HTTP, and one of gRPC."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import grpc
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady

from ..errors import EngineIncompatibleError, Error
from ..statuses import HTTP_STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "Status", "status_of"]

logger = logging.getLogger("trtfast")


class Status(NamedTuple):
    """How an error is answered."""

    http: int
    grpc: grpc.StatusCode
    message: str


_HTTP: Mapping[type[Exception], int] = {
    **HTTP_STATUS,
    EngineIncompatibleError: 400,  # of a file that a client has loaded
    InvalidInput: 400,
    ModelNotFound: 404,
    NotImplementedError: 501,
    ModelNotReady: 503,
    ServerNotReady: 503,
}
_GRPC: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

KINDS = (Error, InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady, NotImplementedError)
"""The errors that are expected of trtfast and of KServe."""


def status_of(error: Exception) -> Status:
    """Return how an error is answered; what is nobody's fault but the server's is logged."""
    http = next((status for kind, status in _HTTP.items() if isinstance(error, kind)), 500)
    message = str(error)
    if http == 500:
        message = f"{type(error).__name__}: {error}"
        logger.error("%s", message, exc_info=error)
    return Status(http, _GRPC[http], message)
