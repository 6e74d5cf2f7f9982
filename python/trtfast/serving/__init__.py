"""A server of the Open Inference Protocol: KServe's, with the batcher and the lanes under it."""

from __future__ import annotations

from .model import Opened
from .server import Addresses, Limits, serve

__all__ = ["Addresses", "Limits", "Opened", "serve"]
