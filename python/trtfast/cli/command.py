"""What each command has beside its own options: those of the program, and trtexec's names."""

from __future__ import annotations

import os
from typing import Any

from typer.core import TyperCommand

from .console import set_verbosity
from .trtexec import translated

__all__ = ["Command"]

_VERBOSE = {"-v": 1, "--verbose": 1, "-vv": 2}


class Command(TyperCommand):
    """A command that also takes ``-v`` and ``--debug`` after its name, and trtexec's options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the command's name."""
        end = args.index("--") if "--" in args else len(args)
        words, rest = args[:end], args[end:]
        if verbosity := sum(_VERBOSE.get(word, 0) for word in words):
            set_verbosity(min(verbosity, 2))
        if "--debug" in words:
            os.environ["TRTFAST_DEBUG"] = "1"
        words = [word for word in words if word not in _VERBOSE and word != "--debug"]
        options = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        arguments = [param.name for param in self.params if param.param_type_name == "argument"]
        words = translated(words, options, next(iter(arguments), None), ctx)
        return super().parse_args(ctx, words + rest)
