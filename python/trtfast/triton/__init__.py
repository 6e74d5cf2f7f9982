"""Models for NVIDIA's Triton Inference Server: a repository that it serves as it lies."""

from __future__ import annotations

from .repository import export

__all__ = ["export"]
