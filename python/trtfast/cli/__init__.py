"""The command ``trtfast``.

Its status is 0 if all is well, 1 if a check failed or something could not be done, 2 if it was
called wrongly, and 130 if it was interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

__all__ = ["main"]

_DEBUG = "run it again with --debug for the traceback"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process; an error is one line, unless with ``--debug``.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from trtfast.errors import Error

    from .app import app
    from .console import fail

    warnings.showwarning = _log_warning
    usage: Any = typer.BadParameter.__base__  # Click's, which newer Typers have inside
    try:
        status: int = app(arguments, prog_name="trtfast", standalone_mode=False) or 0
    except usage as error:
        return _tell_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", 130)
    except (Error, OSError) as error:
        if os.environ.get("TRTFAST_DEBUG"):
            raise
        return fail(f"{type(error).__name__}: {error}", 1)
    except Exception as error:
        if os.environ.get("TRTFAST_DEBUG"):
            raise
        return fail(f"unexpected {type(error).__name__}: {error}; {_DEBUG}", 1)
    # As newer Typers tell of an interrupt.
    return fail("interrupted", 130) if status == 130 else status


def _tell_usage(error: Any) -> int:
    from .console import fail

    if type(error).__name__ == "NoArgsIsHelpError":  # it printed the help
        error.show()
        return int(error.exit_code)
    command = error.ctx.command_path if error.ctx is not None else "trtfast"
    return fail(f"{error.format_message().rstrip('.')}; see {command} --help", error.exit_code)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,  # noqa: ARG001 - as Python calls it
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Log warnings of trtfast as such, and those of others where -v asks for them."""
    import logging

    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        logging.getLogger("trtfast").warning("%s", message)
    else:
        logging.getLogger("trtfast").info("%s: %s", category.__name__, message)
