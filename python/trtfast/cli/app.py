"""The program: its own options, and its commands in the order in which they are used."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .command import Command
from .commands import machine, make, prove, serve, use
from .console import console, set_verbosity

__all__ = ["app"]

app = typer.Typer(
    help="Take a trained PyTorch model to production latency: PyTorch, ONNX, TensorRT, infer.",
    epilog="Status: 0 well, 1 a check failed or an error, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        import trtfast

        console.print(f"trtfast {trtfast.__version__}")
        raise typer.Exit


@app.callback()
def of_all(
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            help="Tell what is done; -vv tells all.",
            show_default=False,
        ),
    ] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Set what holds for all commands."""
    set_verbosity(verbose)
    if debug:
        os.environ["TRTFAST_DEBUG"] = "1"


for _panel, _commands in {
    "To an engine": (make.demo, make.export, make.build),
    "With an engine": (use.run, use.bench, use.profile, use.inspect, use.view),
    "In a server": (serve.serve, serve.export_triton),
    "Is it right?": (prove.verify, prove.compare, prove.check, prove.preprocess_check),
    "This machine": (machine.doctor, machine.cache),
}.items():
    for _command in _commands:
        app.command(cls=Command, rich_help_panel=_panel)(_command)
