"""From what :class:`trtfast.Engine` is given to a plan that is loaded on a GPU."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core, cache, kernels, passport, ultralytics
from . import backend as backends
from .errors import EngineIncompatibleError, InputError
from .passport import Passport
from .precision import support
from .preprocess import Preprocess
from .spec import Closing, ShapeRange, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._plan import Plan

__all__ = ["LoadedPlan", "Options"]


@dataclass(frozen=True)
class Options:
    """How an engine runs: those parameters of :class:`trtfast.Engine` that it can be reopened with.

    Raises
    ------
    InputError
        If one is none of its choices.
    """

    device: int
    lanes: int
    cuda_graph: bool
    wait: str
    max_queue: int | None
    activation_memory: str
    pad_to_bucket: bool
    nvtx: bool
    backend: str
    preprocess: Preprocess | None
    allow_unsupported_gpu: bool | None

    def __post_init__(self) -> None:
        _check_choice("wait", self.wait, ("spin", "block"))
        _check_choice("activation_memory", self.activation_memory, ("lane", "shared"))
        if self.max_queue is not None and self.max_queue < 0:
            raise InputError(
                f"max_queue is {self.max_queue}: give 0 or more, or None for any number"
            )


class LoadedPlan(Closing):
    """A plan on a GPU, and what is known of it: an engine but for its calls.

    Parameters
    ----------
    source, rebuild, onnx
        Those of :class:`trtfast.Engine`, and so are the errors.
    options : Options
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        options: Options,
        *,
        rebuild: bool,
        onnx: str | os.PathLike[str] | None,
    ) -> None:
        if onnx is not None and not rebuild:
            raise InputError("onnx= is what to build again from: give rebuild=True with it")
        name = "engine" if isinstance(source, bytes) else Path(source).name
        if rebuild:
            source = _rebuilt(source, onnx, options)
        plan, known, self._metadata = _read(source)
        with _checking(source, plan, known):
            version = passport.plan_version(plan)
            library = backends.select(
                options.backend, device=backends.gpu(options.device), version=version
            )
            if version is not None and version != library.version:
                raise EngineIncompatibleError(
                    f"this plan was built by version {version}, and {library.product} "
                    f"{library.version} in {library.path} would load it: build it again from the "
                    f"ONNX file with trtfast.build(), or install version {version}."
                )
            gpu = backends.require_gpu(options.device)
            if known is not None and known.precision["asked"] == "fp8":
                support.require("fp8", library, gpu, ())
        # All that the kernels which TensorRT-RTX compiles depend on.
        key = cache.key_of(
            plan=known.plan_sha256 if known else passport.sha256(plan),
            tensorrt=[library.product, library.version],
            gpu=gpu.name,
            driver=_core.driver_version(),
        )
        compiled = kernels.read(key)
        self._core = _core.Engine(
            library,
            plan,
            device=options.device,
            lanes=options.lanes,
            cuda_graph=options.cuda_graph,
            spin=options.wait == "spin",
            max_queue=options.max_queue,
            shared_activations=options.activation_memory == "shared",
            pad_to_bucket=options.pad_to_bucket,
            allow_unsupported_gpu=backends.is_gpu_allowed(options.allow_unsupported_gpu),
            kernels=compiled,
            traced_as=name if options.nvtx else "",
        )
        self._keeper = kernels.Keeper(self._core, key, compiled)
        if not library.supports(gpu.compute_capability):
            warnings.warn(
                f"{library.product} {library.version} does not list {gpu.name} as supported: check "
                "the results, and prefer float16 or bfloat16.",
                stacklevel=3,
            )
        self._options = options
        self._passport = known
        # Bytes are the caller's to keep, and as large as the weights.
        self._path = None if isinstance(source, bytes) else Path(source)
        self._plan_bytes = len(plan)
        self._gpu = gpu.name
        self._library = library
        self._preprocess = options.preprocess or _preprocess_of(known, self._metadata)
        self._inputs = tuple(map(_spec, self._core.inputs))
        self._outputs = tuple(map(_spec, self._core.outputs))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the engine takes; -1 for each dynamic dimension, with its range in each profile."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the engine gives; -1 for each dimension that follows from inputs or data."""
        return self._outputs

    @property
    def passport(self) -> Passport | None:
        """What is known of the plan beside its bytes."""
        return self._passport

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What Ultralytics wrote before the plan; None for any other plan."""
        return self._metadata

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes' names, of the passport or the metadata; None where neither has them."""
        if self._passport is not None and self._passport.classes:
            return tuple(self._passport.classes)
        return ultralytics.classes_of(self._metadata) if self._metadata is not None else None

    @property
    def path(self) -> Path | None:
        """Where the plan lies; None if it was given as bytes."""
        return self._path

    @property
    def device(self) -> int:
        """The GPU's index."""
        return self._options.device

    @property
    def preprocess(self) -> Preprocess | None:
        """How :meth:`infer_images` prepares images; None if that is not known."""
        return self._preprocess

    @property
    def lanes(self) -> int:
        """How many calls run at once."""
        return self._options.lanes

    @property
    def cuda_graph(self) -> bool:
        """Whether runs are captured."""
        return self._options.cuda_graph

    @property
    def gpu(self) -> str:
        """The GPU's name."""
        return self._gpu

    @property
    def tensorrt(self) -> str:
        """The TensorRT that runs it, as ``"TensorRT-RTX 1.5.0.114"``."""
        return f"{self._library.product} {self._library.version}"


def _spec(spec: _core.TensorSpec) -> TensorSpec:
    ranges = (ShapeRange(tuple(r.min), tuple(r.opt), tuple(r.max)) for r in spec.profiles)
    return TensorSpec(spec.name, spec.dtype, tuple(spec.shape), tuple(ranges))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}; expected {' or '.join(map(repr, choices))}")


def _rebuilt(
    source: str | os.PathLike[str] | bytes, onnx: str | os.PathLike[str] | None, options: Options
) -> str | os.PathLike[str] | bytes:
    """Return the path of a plan that loads here: the one given, or one that is built again."""
    from .rebuild import resolve

    if isinstance(source, bytes):
        raise InputError("rebuild needs the path of a plan, beside which its passport lies")
    path = Path(source)
    if path.suffix == ".onnx" or not path.is_file():
        return source  # refused as without rebuild
    backends.require_gpu(options.device)
    return resolve(
        path,
        onnx=onnx,
        backend=options.backend,
        device=options.device,
        allow_unsupported_gpu=options.allow_unsupported_gpu,
    )


def _read(
    source: str | os.PathLike[str] | bytes,
) -> tuple[Plan, Passport | None, dict[str, Any] | None]:
    """Return a plan, what its passport says of it, and what Ultralytics wrote before it.

    :func:`_checking` compares the first two.

    Raises
    ------
    InputError
        If there is no such file.
    EngineIncompatibleError
        If the passport or the description of Ultralytics is damaged.
    """
    if isinstance(source, bytes):
        plan, metadata = ultralytics.split(source, "the engine")
        return plan, None, metadata
    path = Path(source)
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX model: build it first, with trtfast.build({path.name!r})"
        )
    if not path.is_file():
        raise InputError(f"there is no engine file {path}")
    plan, metadata = ultralytics.opened(path)
    return plan, Passport.of(path), metadata


def _preprocess_of(known: Passport | None, metadata: Mapping[str, Any] | None) -> Preprocess | None:
    """Return how an engine takes images, as far as it is told."""
    if known is not None and known.preprocess:
        return Preprocess.from_dict(known.preprocess)
    return ultralytics.preprocess_of(metadata) if metadata is not None else None


@contextmanager
def _checking(
    source: str | os.PathLike[str] | bytes, plan: Plan, known: Passport | None
) -> Iterator[None]:
    """Check that a plan is that of its passport, while the body gets ready to load it.

    Hashing takes about as long as CUDA and TensorRT take to start. A plan that is damaged is told
    of first, whatever else is wrong.

    Raises
    ------
    EngineIncompatibleError
        If it is not.
    """
    if known is None:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        is_right = pool.submit(known.describes, plan)
        try:
            yield
        finally:
            if not is_right.result():
                path = Path(os.fsdecode(source))
                raise EngineIncompatibleError(
                    f"{path} is not the plan that its passport {passport.path_of(path).name} "
                    "describes: it is damaged or was replaced. Build it again, or delete the "
                    "passport."
                )
