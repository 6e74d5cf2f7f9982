"""``trtfast serve``: models over HTTP and gRPC, until it is told to end."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trtfast
from trtfast.batcher import Batcher
from trtfast.errors import Error, InputError
from trtfast.preprocess.parity import read_spec

from .console import console, note, print_json
from .sizes import bytes_of, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trtfast.serving import Opened

__all__ = ["Wanted", "run_serve"]

_NAME = re.compile(r"[\w.-]+")


class Wanted(NamedTuple):
    """What ``trtfast serve`` was asked for, beside the models."""

    host: str
    http_port: int
    grpc_port: int
    lanes: int
    max_batch_size: int | None
    max_queue_delay: float
    preferred_batch_sizes: str
    max_queue: int
    deadline: float | None
    max_request_bytes: str
    drain: float
    preprocess: Path | None
    precision: str | None
    backend: str
    device: int
    as_json: bool


def run_serve(models: Sequence[str], wanted: Wanted) -> None:
    """Serve models until SIGTERM or Ctrl-C, and answer what is under way then."""
    most = _bytes(wanted.max_request_bytes)
    opened = {name: _opening(path, wanted) for name, path in _named(models).items()}
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what fails is raised
    try:
        import uvloop

        from trtfast import serving
    except ImportError as error:
        raise Error(
            f'the server is not installed ({error}): pip install "trtfast[serve]"'
        ) from error

    def tell_address(at: serving.Addresses) -> None:
        if wanted.as_json:
            print_json({"host": at.host, "http_port": at.http_port, "grpc_port": at.grpc_port})
        else:
            host = f"[{at.host}]" if ":" in at.host else at.host
            console.print(f"http://{host}:{at.http_port} and gRPC at {host}:{at.grpc_port}")
        console.file.flush()  # for a program that reads it: the command ends only when it is told

    def tell_ready() -> None:
        if wanted.as_json:
            print_json({"ready": list(opened)})
        else:
            console.print(f"ready: {', '.join(opened)}; until Ctrl-C")
        console.file.flush()

    uvloop.run(
        serving.serve(
            opened,
            serving.Addresses(wanted.host, wanted.http_port, wanted.grpc_port),
            serving.Limits(most, wanted.drain),
            on_listening=tell_address,
            on_ready=tell_ready,
        )
    )
    note("all is answered")


def _named(models: Sequence[str]) -> dict[str, Path]:
    """Return the models' files by name: ``NAME=PATH``, or a path whose stem is the name."""
    found: dict[str, Path] = {}
    for model in models:
        name, given, path = model.partition("=")
        if not given or "/" in name:
            name, path = Path(model).stem, model
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name for a model: use letters, digits, '.', '_', '-'")
        if name in found:
            raise InputError(f"two models have the name {name}: give NAME=PATH")
        found[name] = Path(path)
        if not found[name].is_file():
            raise InputError(f"there is no file {path}")
    return found


def _opening(path: Path, wanted: Wanted) -> Callable[[], Opened]:
    """Return what opens a model's file, and returns it warm."""
    sizes = numbers_of(wanted.preferred_batch_sizes, "--preferred-batch-sizes")
    # Batches of any size run as a graph of the next larger one that is warm.
    options: dict[str, Any] = {"lanes": wanted.lanes, "pad_to_bucket": True}
    if wanted.preprocess is not None:
        options["preprocess"] = read_spec(wanted.preprocess)
    if path.suffix == ".onnx" and wanted.precision is not None:
        options["precision"] = wanted.precision

    def opened() -> Opened:
        from trtfast.serving import Opened
        from trtfast.serving.tensors import described

        engine = trtfast.load(path, backend=wanted.backend, device=wanted.device, **options)
        try:
            described((*engine.inputs, *engine.outputs))  # what has no name cannot be served
            batcher = Batcher(
                engine,
                wanted.max_batch_size,
                wanted.max_queue_delay,
                preferred_batch_sizes=sizes,
                max_queue=wanted.max_queue,
                deadline=wanted.deadline,
            )
            batcher.warmup()
        except BaseException:
            engine.close()
            raise
        return Opened(engine, batcher, getattr(engine, "classes", None))

    return opened


def _bytes(text: str) -> int:
    try:
        return bytes_of(text)
    except ValueError as error:
        raise InputError(f"--max-request-bytes: {error}") from None
