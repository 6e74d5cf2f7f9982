"""The TensorRT engine: a plan on a GPU, called with arrays from any thread."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from . import _core, _plan, binding, cache, passport
from . import backend as backends
from .errors import EngineIncompatibleError, InputError
from .passport import Passport
from .preprocess import Preprocess
from .spec import ShapeRange, TensorSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._plan import Plan
    from .preprocess import Image
    from .spec import Array, Inputs, Outputs

__all__ = ["Engine"]

logger = logging.getLogger("trtfast")


class Engine:
    """A TensorRT engine on a GPU.

    One engine serves calls from any number of threads; each call runs on a lane of its own, with an
    execution context, a CUDA stream and page-locked buffers, and without the GIL.

    Parameters
    ----------
    source : path or bytes
        A plan (``.engine``, ``.plan``, ``.trt``). Beside a path, its passport is read, if there.
    device : int
        The GPU's index.
    lanes : int
        How many calls run at once, 1 or more. Each needs memory for a context and buffers.
    backend : "auto", "tensorrt" or "tensorrt_rtx"
        Which TensorRT; by default the one that built the plan.
    preprocess : Preprocess, optional
        How :meth:`infer_images` prepares images; by default what the passport says.
    allow_unsupported_gpu : bool, optional
        Whether to run on a GPU that this TensorRT does not list; by default what
        ``TRTFAST_ALLOW_UNSUPPORTED_GPU`` says.
    rebuild : bool
        Whether to build a plan again that another TensorRT or another GPU made: from the ONNX model
        that it was built from, with the options and profiles of its passport. What was built is
        kept in the cache, and one line in the log says so.
    onnx : path, optional
        The model to build again from; by default that beside the plan, with the ending ``.onnx``,
        if its hash is the passport's.

    Raises
    ------
    InputError
        If there is no such file.
    EngineIncompatibleError
        If the bytes are no whole plan, or were built by another TensorRT or for another GPU; with
        ``rebuild``, if it cannot be built again, and why.
    UnsupportedDeviceError
        If there is no such GPU, or this TensorRT does not list it.
    TensorRTNotFoundError, UnsupportedVersionError, OutOfMemoryError, CudaError
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        device: int = 0,
        lanes: int = 2,
        backend: str = "auto",
        preprocess: Preprocess | None = None,
        allow_unsupported_gpu: bool | None = None,
        rebuild: bool = False,
        onnx: str | os.PathLike[str] | None = None,
    ) -> None:
        if onnx is not None and not rebuild:
            raise InputError("onnx= is what to build again from: give rebuild=True with it")
        if rebuild:
            source = _rebuilt(source, onnx, backend, device, allow_unsupported_gpu)
        plan, self._passport = _read(source)
        if preprocess is None and self._passport is not None and self._passport.preprocess:
            preprocess = Preprocess.from_dict(self._passport.preprocess)
        self._preprocess = preprocess
        version = passport.plan_version(plan)
        library = backends.select(backend, device=backends.gpu(device), version=version)
        if version is not None and version != library.version:
            raise EngineIncompatibleError(
                f"this plan was built by version {version}, and {library.product} "
                f"{library.version} in {library.path} would load it: build it again from the ONNX "
                f"file with trtfast.build(), or install version {version}."
            )
        gpu = backends.require_gpu(device)
        allowed = backends.is_gpu_allowed(allow_unsupported_gpu)
        # All that the kernels which TensorRT-RTX compiles depend on.
        self._kernels_key = cache.key_of(
            plan=self._passport.plan_sha256 if self._passport else passport.sha256(plan),
            tensorrt=[library.product, library.version],
            gpu=gpu.name,
            driver=_core.driver_version(),
        )
        self._kernels = cache.read_runtime(self._kernels_key) or b""
        self._core = _core.Engine(library, plan, device, lanes, allowed, self._kernels)
        if not library.supports(gpu.compute_capability):
            warnings.warn(
                f"{library.product} {library.version} does not list {gpu.name} as supported: check "
                "the results, and prefer float16 or bfloat16.",
                stacklevel=2,
            )
        self._library = library
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
    def tensorrt(self) -> str:
        """The TensorRT that runs it, as ``"TensorRT-RTX 1.5.0.114"``."""
        return f"{self._library.product} {self._library.version}"

    @overload
    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...
    @overload
    def infer(self, inputs: Array | Sequence[Array]) -> Any: ...
    def infer(self, inputs: Inputs) -> Outputs:
        """Run the engine once; safe from several threads.

        Parameters
        ----------
        inputs : array, sequence of arrays in the order of ``inputs``, or mapping from name to array
            A dtype that NumPy casts safely is cast; any other has to be right. An array that is not
            contiguous is copied right.

        Returns
        -------
        dict for a mapping; else the array of a single output, or a tuple
            New arrays, owned by the caller.

        Raises
        ------
        InputError
            If a name, dtype, rank or shape is wrong, or a shape is outside all profiles.
        ClosedError
            After :meth:`close`.
        OutOfMemoryError, CudaError
        """
        bound = binding.bind(inputs, self._inputs)
        results = self._core.infer(list(bound.values()))
        self._keep_kernels()
        names = (spec.name for spec in self._outputs)
        return binding.unbind(dict(zip(names, results, strict=True)), inputs)

    def infer_images(self, images: Image | Sequence[Image]) -> Outputs:
        """Run the engine on images: OpenCV resizes them, the GPU normalises.

        The engine must have one input, of shape (N, 3, height, width) and a floating dtype. What
        reaches it is bit for bit what ``preprocess(images)`` gives, and travels as bytes.

        Parameters
        ----------
        images : uint8 array (H, W, 3), uint8 array (N, H, W, 3), or sequence of (H, W, 3)

        Returns
        -------
        The array of a single output, or a tuple; of N rows

        Raises
        ------
        InputError
            If the engine has no preprocessing or takes no images, or what is given is no image.
        ClosedError, OutOfMemoryError, CudaError
        """
        preprocess = binding.image_preprocess(self._preprocess, self._inputs)
        pixels = preprocess.resize(images)
        binding.check_profiles(
            {self._inputs[0].name: (len(pixels), 3, *preprocess.size)}, self._inputs
        )
        results = tuple(self._core.infer_images(pixels, preprocess.table))
        self._keep_kernels()
        return results[0] if len(results) == 1 else results

    def inspect(self) -> str:
        """Return what TensorRT's engine inspector tells of the layers, as JSON."""
        return self._core.inspect()

    def close(self) -> None:
        """Wait for the calls under way, and free the GPU's memory. May be called again."""
        self._core.close()

    def _keep_kernels(self) -> None:
        """Keep what a call with new shapes compiled; such a call has taken a second anyway."""
        if not self._core.take_new_kernels():
            return
        kernels = self._core.kernels()
        if kernels == self._kernels:
            return
        self._kernels = kernels
        try:
            cache.write_runtime(self._kernels_key, kernels)
        except OSError as error:
            logger.warning("compiled kernels are not kept for the next start: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _rebuilt(
    source: str | os.PathLike[str] | bytes,
    onnx: str | os.PathLike[str] | None,
    backend: str,
    device: int,
    allow_unsupported_gpu: bool | None,
) -> str | os.PathLike[str] | bytes:
    from .rebuild import resolve

    if isinstance(source, bytes):
        raise InputError("rebuild needs the path of a plan, beside which its passport lies")
    path = Path(source)
    if path.suffix == ".onnx" or not path.is_file():
        return source  # refused as without rebuild
    backends.require_gpu(device)
    return resolve(
        path,
        onnx=onnx,
        backend=backend,
        device=device,
        allow_unsupported_gpu=allow_unsupported_gpu,
    )


def _read(source: str | os.PathLike[str] | bytes) -> tuple[Plan, Passport | None]:
    if isinstance(source, bytes):
        return source, None
    path = Path(source)
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an ONNX model: build it first, with trtfast.build({path.name!r})"
        )
    if not path.is_file():
        raise InputError(f"there is no engine file {path}")
    plan = _plan.mapped(path)
    known = Passport.of(path)
    if known is not None and not known.describes(plan):
        raise EngineIncompatibleError(
            f"{path} is not the plan that its passport {passport.path_of(path).name} describes: it "
            "is damaged or was replaced. Build it again, or delete the passport."
        )
    return plan, known


def _spec(spec: _core.TensorSpec) -> TensorSpec:
    ranges = (ShapeRange(tuple(r.min), tuple(r.opt), tuple(r.max)) for r in spec.profiles)
    return TensorSpec(spec.name, spec.dtype, tuple(spec.shape), tuple(ranges))
