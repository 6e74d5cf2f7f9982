"""A model's files in a repository of Triton's: all of a version, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _plan, ultralytics
from ..errors import EngineIncompatibleError, InputError
from ..labels import class_names
from ..passport import Header, Passport, replacing
from ..spec import ShapeRange, TensorSpec
from .config import LABELS, Serving, config_of, parsed, written

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from ..labels import ClassNames

__all__ = ["export"]

_CONFIG = "config.pbtxt"


def export(
    model: str | os.PathLike[str],
    repository: str | os.PathLike[str],
    name: str | None = None,
    *,
    version: int | None = None,
    max_batch_size: int | None = None,
    max_queue_delay: float = 0.0,
    preferred_batch_sizes: Sequence[int] = (),
    max_queue: int | None = 1024,
    deadline: float | None = None,
    instances: int | None = None,
    cuda_graph: bool = True,
    classes: ClassNames | None = None,
) -> Path:
    """Write a model into a repository that NVIDIA's Triton Inference Server serves.

    Needs no GPU, no TensorRT and no Triton: all is in the engine's passport.

    Parameters
    ----------
    model : path
        An engine that TensorRT built, with its passport, for Triton's TensorRT backend; or an ONNX
        model (``.onnx``), for its ONNX Runtime on the CPU.
    repository : path
        A folder, which is made where it is not there.
    name : str, optional
        The model's in Triton; by default that of the file.
    version : int, optional
        By default the next one: 1, or one more than the largest that is there. Triton serves the
        largest. What it takes and gives has to be what those that are there do.
    max_batch_size : int, optional
        The largest batch that Triton makes of requests; 0 for none, where clients send whole
        batches. By default the engine's largest, or 32 of an ONNX model; 0 where the first axis of
        an input or output is not dynamic.
    max_queue_delay : float
        Seconds that a request may wait for others to fill its batch.
    preferred_batch_sizes : sequence of int
        Sizes at which a batch is run at once; else when it is full, or the delay over.
    max_queue : int, optional
        Requests that may wait; more are refused. None for any number.
    deadline : float, optional
        Seconds after which a request that still waits is refused. A request may ask for less.
    instances : int, optional
        Calls at once, on each GPU: what lanes are to :class:`trtfast.Engine`. By default 2, and 1
        of an ONNX model, which takes all cores by itself.
    cuda_graph : bool
        Whether Triton captures CUDA graphs of the sizes that it warms up.
    classes : as for :func:`trtfast.class_names`, optional
        Names for clients that ask for classes; by default the passport's. They are those of each
        output whose last axis is as long.

    Returns
    -------
    Path
        The version's folder, as ``repository/name/1``.

    Raises
    ------
    Error
        If Triton's schema is not installed, or for an ONNX model the package onnx.
    InputError
        If there is no such file; if it has no passport; if an argument is out of its range; if
        Triton cannot batch the model so; or if the version is there already, or takes or gives
        something else than those that are.
    EngineIncompatibleError
        If it is no plan, is damaged, or was built by TensorRT-RTX, which Triton does not have.
    BuildError
        If the ONNX model cannot be read.
    """
    source = Path(model)
    if not source.is_file():
        raise InputError(f"there is no file {source}")
    is_plan = source.suffix != ".onnx"
    serving = Serving(
        max_batch_size,
        max_queue_delay,
        preferred_batch_sizes,
        max_queue,
        deadline,
        (2 if is_plan else 1) if instances is None else instances,
        cuda_graph,
    )
    inputs, outputs, known = _of_plan(source) if is_plan else _of_onnx(source)
    names = known if classes is None else class_names(classes)
    name = _checked(source.stem if name is None else name)
    config = config_of(name, inputs, outputs, names, serving, is_plan=is_plan)
    labelled = any(output.label_filename for output in config.output)
    if classes is not None and not labelled:
        raise InputError(
            f"classes has {len(names or ())} names, and no output's last axis is as long: "
            f"{ {spec.name: spec.shape for spec in outputs} }"
        )

    folder = Path(repository) / name
    number = _version(folder, version)
    _check_same(folder / _CONFIG, config)
    texts = {_CONFIG: written(config)}
    if labelled:
        texts[LABELS] = _lines(names or ())
    folder.parent.mkdir(parents=True, exist_ok=True)
    copy = _copy_plan if is_plan else _copy_onnx
    if not folder.exists():
        with _made(folder) as partial:
            (partial / str(number)).mkdir()
            copy(source, partial / str(number))
            for file, text in texts.items():
                (partial / file).write_text(text, "utf-8")
        return folder / str(number)
    # The version comes last: Triton does not look at folders whose name is no number.
    with _made(folder / str(number)) as partial:
        copy(source, partial)
        for file, text in reversed(texts.items()):
            with replacing(folder / file) as beside:
                beside.write_text(text, "utf-8")
    return folder / str(number)


def _of_plan(
    path: Path,
) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Sequence[str] | None]:
    """Return what an engine takes and gives, and its classes, after a look at its bytes."""
    plan, _ = ultralytics.opened(path)
    header = Header.of(plan)
    if header is None:
        raise EngineIncompatibleError(f"{path} is not a TensorRT plan: build the engine again")
    if header.product != "TensorRT":
        raise EngineIncompatibleError(
            f"{path} is a plan of {header.product} {header.version}, and Triton runs those of "
            "TensorRT alone: build the engine for that (`trtfast build model.onnx --backend "
            "tensorrt`), or export the ONNX model, which Triton runs on ONNX Runtime"
        )
    known = Passport.of(path)
    if known is None:
        raise InputError(
            f"{path} has no passport, {path.name}.json, to tell what it takes and gives: copy it "
            "there from where the engine was built, or build the engine with trtfast"
        )
    if not known.describes(plan):
        raise EngineIncompatibleError(
            f"{path} is not the plan that its passport describes: copy both again, or build the "
            "engine again"
        )
    try:
        return _specs(known.inputs), _specs(known.outputs), known.classes
    except (KeyError, TypeError, ValueError) as error:
        raise EngineIncompatibleError(
            f"{path.name}.json, the engine's passport, is damaged ({error!r}): copy it again, or "
            "build the engine again"
        ) from error


def _specs(entries: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return tensors' specifications from those of a passport."""
    import ml_dtypes
    import numpy as np

    def spec(entry: Mapping[str, Any]) -> TensorSpec:
        ranges = [
            ShapeRange(*(tuple(profile[bound]) for bound in ("min", "opt", "max")))
            for profile in entry.get("profiles", ())
        ]
        dtype = np.dtype(getattr(ml_dtypes, entry["dtype"], entry["dtype"]))
        return TensorSpec(entry["name"], dtype, tuple(entry["shape"]), tuple(ranges))

    return tuple(map(spec, entries))


def _of_onnx(path: Path) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], None]:
    from .. import model

    inputs, outputs = model.specs(model.read(path)[0])
    return inputs, outputs, None


def _checked(name: str) -> str:
    if not name or name.startswith(".") or Path(name).name != name:
        raise InputError(f"{name!r} is no name for a model: give one that a folder can have")
    return name


def _version(folder: Path, asked: int | None) -> int:
    present = [int(path.name) for path in folder.glob("[1-9]*") if path.name.isdecimal()]
    if asked is None:
        return max(present, default=0) + 1
    if asked < 1:
        raise InputError(f"version is {asked}: give 1 or more")
    if asked in present:
        raise InputError(
            f"{folder} has a version {asked}: leave version out for the next, or delete that first"
        )
    return asked


def _check_same(path: Path, config: ModelConfig) -> None:
    """Raise InputError if a model that is there takes or gives something else: clients know it."""
    if not path.exists():
        return
    present = parsed(path.read_text("utf-8"), str(path))
    for kind in ("input", "output"):
        theirs, ours = (_signature(getattr(each, kind)) for each in (present, config))
        if theirs != ours:
            raise InputError(
                f"{path} has {kind}s {theirs}, and this model {ours}; versions of one model have "
                "to agree in that: choose another name"
            )


def _signature(tensors: Sequence[ModelConfig.Input]) -> list[tuple[str, int, tuple[int, ...]]]:
    return sorted((each.name, each.data_type, tuple(each.dims)) for each in tensors)


def _lines(names: Sequence[str]) -> str:
    if broken := [name for name in names if "\n" in name or not name]:
        raise InputError(
            f"{broken[0]!r} cannot be a label of Triton's, which has one a line: give other names"
        )
    return "".join(f"{name}\n" for name in names)


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """Give a folder to fill that takes its place once it is whole."""
    partial = Path(
        tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent)
    )
    try:
        yield partial
        partial.chmod(0o755)  # a server is seldom run by the user who exports
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_plan(source: Path, folder: Path) -> None:
    plan, _ = ultralytics.opened(source)
    with _plan.Writer(folder / "model.plan", folder / "model.plan") as file:
        file.write(memoryview(plan))


def _copy_onnx(source: Path, folder: Path) -> None:
    import onnx

    light = onnx.load(source, load_external_data=False)
    if not any(map(onnx.external_data_helper.uses_external_data, light.graph.initializer)):
        shutil.copyfile(source, folder / "model.onnx")
        return
    onnx.save_model(
        onnx.load(source),
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
    )
