"""The command ``trtfast``."""

from __future__ import annotations

import os
import sys

from trtfast.errors import Error

__all__ = ["main"]


def main() -> None:
    """Run the command; an error of trtfast's or of a file is one message, and exit status 1."""
    from .app import app

    try:
        app(prog_name="trtfast")
    except (Error, OSError, KeyboardInterrupt) as error:
        if os.environ.get("TRTFAST_DEBUG"):
            raise
        if isinstance(error, KeyboardInterrupt):
            print("trtfast: interrupted", file=sys.stderr)
            sys.exit(130)
        print(f"trtfast: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
