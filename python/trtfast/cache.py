"""Where engines that trtfast built on its own are kept."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Return ``TRTFAST_CACHE_DIR``, else ``trtfast`` in the user's cache directory."""
    if given := os.environ.get("TRTFAST_CACHE_DIR"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtfast"
