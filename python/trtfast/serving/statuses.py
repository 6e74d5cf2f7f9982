"""What the protocols call an error: a status of HTTP, and one of gRPC."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import grpc
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady

from ..errors import (
    ClosedError,
    DeadlineExceededError,
    EngineIncompatibleError,
    Error,
    InputError,
    QueueFullError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KINDS", "Status", "status_of"]

logger = logging.getLogger("trtfast")


class Status(NamedTuple):
    """How an error is answered."""

    http: int
    grpc: grpc.StatusCode
    message: str


_CODES: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], int, grpc.StatusCode]] = (
    ((InputError, InvalidInput), 400, grpc.StatusCode.INVALID_ARGUMENT),
    (EngineIncompatibleError, 400, grpc.StatusCode.INVALID_ARGUMENT),
    (ModelNotFound, 404, grpc.StatusCode.NOT_FOUND),
    (NotImplementedError, 501, grpc.StatusCode.UNIMPLEMENTED),
    # A load balancer sends what one server has no room for to another; 429 is one client's fault.
    (QueueFullError, 503, grpc.StatusCode.UNAVAILABLE),
    ((ClosedError, ModelNotReady, ServerNotReady), 503, grpc.StatusCode.UNAVAILABLE),
    (DeadlineExceededError, 504, grpc.StatusCode.DEADLINE_EXCEEDED),
)

KINDS = (Error, InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady, NotImplementedError)
"""The errors that are expected of trtfast and of KServe."""


def status_of(error: Exception) -> Status:
    """Return how an error is answered; what is nobody's fault but the server's is logged."""
    for kinds, http, code in _CODES:
        if isinstance(error, kinds):
            return Status(http, code, str(error))
    logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    return Status(500, grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
