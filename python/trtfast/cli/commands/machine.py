"""``doctor`` and ``cache``: this machine, and what trtfast keeps on it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from ..options import Json

__all__ = ["cache", "doctor"]


class CacheAction(str, Enum):
    """What ``trtfast cache`` can do."""

    list = "list"
    clear = "clear"


def doctor(as_json: Json = False) -> None:
    """Show what this machine has, and what to install; status 1 if no engine can run here."""
    from ..doctor import run_doctor

    raise typer.Exit(0 if run_doctor(as_json) else 1)


def cache(
    action: Annotated[CacheAction, typer.Argument(help="What to do.", show_default=False)],
    as_json: Json = False,
) -> None:
    """List or clear the engines that trtfast keeps."""
    from ..cache import run_cache

    run_cache(clear=action is CacheAction.clear, as_json=as_json)
