"""What HTTP calls the errors that a request may end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ClosedError, DeadlineExceededError, InputError, QueueFullError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HTTP_STATUS"]

HTTP_STATUS: Mapping[type[Exception], int] = {
    InputError: 400,
    # A load balancer sends what one server has no room for to another; 429 is one client's fault.
    QueueFullError: 503,
    ClosedError: 503,
    DeadlineExceededError: 504,
}
"""The status of each error that is expected of an engine or a batcher; others are a 500."""
