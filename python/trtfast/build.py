"""From an ONNX model to an engine file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core, _plan, cache, model, passport, readback
from . import backend as backends
from . import precision as precisions
from .errors import BuildError, InputError
from .labels import class_names
from .passport import Passport
from .precision import support
from .shapes import buckets_for, profiles_for

if TYPE_CHECKING:
    import os

    import onnx

    from .labels import ClassNames
    from .precision.ranges import Calibration
    from .preprocess import Preprocess
    from .samples import Samples
    from .shapes import Shapes
    from .spec import ShapeRange
    from .verification import Tolerance

__all__ = ["Progress", "build", "cached"]

logger = logging.getLogger("trtfast")

Progress = Callable[[str, str, int, int], "bool | None"]


def build(
    onnx: str | os.PathLike[str] | onnx.ModelProto,
    path: str | os.PathLike[str] | None = None,
    *,
    precision: str = "fp16",
    keep_io: bool = True,
    keep_fp32: Collection[str] = (),
    keep_fp16: Collection[str] = (),
    calibration: Samples | Calibration | None = None,
    min_shapes: Shapes | None = None,
    opt_shapes: Shapes | None = None,
    max_shapes: Shapes | None = None,
    buckets: Sequence[int | Sequence[int] | Shapes] = (),
    profiles: Sequence[Mapping[str, ShapeRange]] | None = None,
    workspace: int | None = None,
    optimization_level: int | None = None,
    timing_cache: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    targets: Sequence[int] | None = None,
    device: int = 0,
    preprocess: Preprocess | None = None,
    classes: ClassNames | None = None,
    samples: Samples | None = None,
    tolerance: Tolerance | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build an engine from an ONNX model, and write the plan and its passport.

    Parameters
    ----------
    onnx : path or onnx.ModelProto
        Weights in external files are found beside a path.
    path : path, optional
        Where the plan goes; the passport goes beside it, with ``.json`` added. By default the
        model's path with the ending ``.engine``.
    precision : "fp32", "tf32", "fp16", "bf16", "mixed", "int8", "fp8" or "auto"
        What layers compute in. The graph itself is rewritten, so it holds on every TensorRT.
        "mixed" is fp16 but for the nodes whose values on the samples float16 does not hold; "int8"
        and "fp8" are "mixed" with convolutions and products quantised. "fp32" is computed without
        TF32 where one can choose, which TensorRT-RTX does not let one. "auto" is the fastest that
        is within ``tolerance`` on ``samples``, found by building and running all, with
        ``calibration`` those that need it too, and each with as many nodes kept from it as it
        needs; the passport tells of the search. It needs the GPU.
    keep_io : bool
        Whether inputs and outputs stay float32.
    keep_fp32 : collection of str
        Names of ONNX nodes that stay in float32.
    keep_fp16 : collection of str
        Names of ONNX nodes that are not quantised.
    calibration : samples or Calibration, optional
        What "mixed", "int8" and "fp8" need, and "auto" to try them: samples of what the model will
        see, as :func:`trtfast.samples.samples_of` takes them, or what :func:`trtfast.calibrate`
        made of them. ``preprocess`` makes inputs of images.
    min_shapes, opt_shapes, max_shapes : mapping from input name to shape, optional
        The range of each dynamic input; see :func:`trtfast.shapes.profiles_for`.
    buckets : sequence of int, of shapes, or of mappings from input name to shape
        Shapes that the engine will see most, as ``(1, 8, 32)`` for these batch sizes. Each gets a
        profile, and so kernels, of its own; where ranges are given too, they serve the rest. See
        :func:`trtfast.shapes.buckets_for`, and ``pad_to_bucket`` of :class:`trtfast.Engine`.
    profiles : sequence of mapping from input name to ShapeRange, optional
        Several optimisation profiles, instead of the above.
    workspace : int, optional
        Bytes of device memory that a layer may use meanwhile; by default all there is.
    optimization_level : int, optional
        0 (fast build) to 5 (fast engine); TensorRT's default is 3.
    timing_cache : path, optional
        A file for what TensorRT measures, to go on from and to add to, in the place of that in
        trtfast's own cache. TensorRT-RTX measures nothing.
    backend : "auto", "tensorrt" or "tensorrt_rtx"
    targets : sequence of int, optional
        Compute capabilities to build for, as 89 for 8.9; TensorRT-RTX only.
    device : int
        The GPU to build on. TensorRT-RTX needs none.
    preprocess : Preprocess, optional
        Kept in the passport for whoever runs the engine; so are the names of the classes.
    classes : optional
        As :func:`trtfast.class_names` takes them.
    samples : optional
        Of the same kinds as ``calibration``: the engine is run on them, and one that gives NaN or
        infinite values where the model does not is refused; on the first, its layers are timed, for
        the passport. Where no engine can run, a line in the log says so. For "auto", the first 32
        calls are what engines are verified on.
    tolerance : Tolerance, optional
        For "auto"; by default that of float16.
    progress : callable, optional
        Called with (phase, parent phase, step, steps), from several threads. False cancels.

    Returns
    -------
    Path
        That of the plan.

    Raises
    ------
    InputError
        For a missing file, or shapes that do not fit the model.
    BuildError
        If TensorRT cannot parse or build the model, where ``node`` names the ONNX node at fault; or
        if the plan cannot be written, as to a disk that is full.
    PrecisionError
        If the precision cannot be had on this TensorRT, GPU or ``targets``, of which the first is
        known before the build; is not what came out; or does not hold what the model gives for
        ``samples``. There is no plan then.
    TensorRTNotFoundError, UnsupportedVersionError, UnsupportedDeviceError, OutOfMemoryError
    """
    if workspace is not None and workspace <= 0:
        raise InputError(f"workspace is {workspace}: give bytes, 1 or more, or None for all")
    if precision == "auto" and not keep_io:
        raise InputError(
            "precision='auto' compares engines of one interface: leave keep_io as it is"
        )
    if precision != "auto" and tolerance is not None:
        raise InputError(f"tolerance is for precision='auto', not for {precision!r}")
    if optimization_level is not None and not 0 <= optimization_level <= 5:
        raise InputError(f"optimization_level is {optimization_level}: use 0 to 5")
    if precision != "auto":
        precisions.check(precision, is_calibrated=calibration is not None, keep_fp16=keep_fp16)
    elif keep_fp16 and calibration is None:
        raise InputError(
            "keep_fp16 names nodes that int8 and fp8 would quantise, and precision='auto' tries "
            "these with calibration= only: give that, or leave keep_fp16 out"
        )
    names = None if classes is None else class_names(classes)
    source, origin = model.read(onnx)
    target = _target(path, origin)
    if precision == "auto":
        from .auto import build_fastest

        return build_fastest(
            source,
            target,
            samples,
            tolerance,
            keep_fp32=tuple(keep_fp32),
            keep_fp16=tuple(keep_fp16),
            calibration=calibration,
            min_shapes=min_shapes,
            opt_shapes=opt_shapes,
            max_shapes=max_shapes,
            buckets=buckets,
            profiles=profiles,
            workspace=workspace,
            optimization_level=optimization_level,
            timing_cache=timing_cache,
            backend=backend,
            targets=targets,
            device=device,
            preprocess=preprocess,
            classes=names,
            progress=progress,
        )
    gpu = backends.gpu(device)
    library = backends.select(backend, device=gpu)
    support.require(precision, library, gpu, targets or ())
    timings_key = _timings_key(library, gpu, timing_cache)
    if calibration is not None:
        support.require_layers(precision, library, source, {*keep_fp32, *keep_fp16})
        calibration = _calibrate(source, calibration, preprocess)
    rewritten = precisions.rewrite(
        source,
        precision,
        keep_io=keep_io,
        keep_fp32=keep_fp32,
        keep_fp16=keep_fp16,
        calibration=calibration,
    )
    inputs, outputs = model.specs(rewritten.model)
    if profiles is None:
        profiles = buckets_for(inputs, buckets)
        if not buckets or min_shapes or opt_shapes or max_shapes:
            profiles += profiles_for(inputs, min_shapes, opt_shapes, max_shapes)
    options = {
        "precision": precision,
        "keep_io": keep_io,
        "keep_fp32": sorted(keep_fp32),
        "keep_fp16": sorted(keep_fp16),
        "calibration": calibration.to_dict() if calibration is not None else None,
        "workspace": workspace,
        "optimization_level": optimization_level,
        "targets": list(targets or ()),
    }

    engine, shares, calls = None, None, None
    why_not = (
        backends.why_no_engine(device)
        if gpu is None
        else backends.why_not_run(library, gpu, targets or ())
    )
    if samples is not None and why_not is None:
        from . import gate  # NumPy takes long to import

        calls = gate.calls_of(samples, inputs, profiles, preprocess)
    elif samples is not None:
        logger.warning("%s is not run on the samples: %s", target, why_not)
    start = time.perf_counter()
    timings = cache.read_timings(timings_key) if timings_key else None
    with passport.replacing(target) as partial:
        with (
            _plan.Writer(partial, target) as plan,
            model.serialised(rewritten.model) as (data, location),
        ):
            result = _core.build(
                library,
                data,
                location,
                [{name: (r.min, r.opt, r.max) for name, r in p.items()} for p in profiles],
                workspace,
                optimization_level,
                list(targets or ()),
                precision == "tf32",
                device,
                timings or b"",
                progress,
                plan.write,
            )
        layers = readback.check(result.layers, rewritten, precision)
        computed = readback.computed(result.layers, rewritten)
        seconds = time.perf_counter() - start
        if calls is not None:
            engine, shares = gate.check_values(
                partial, source, calls, precision, backend=backend, device=device
            )
        elif why_not is None:
            told = _core.inspect(library, _plan.mapped(partial), device)
            engine = readback.engine_dtypes(told)
    record = Passport(
        plan_sha256=plan.sha256,
        onnx_sha256=model.sha256(source),
        product=library.product,
        version=library.version,
        generation=library.generation,
        trtfast=_core.__version__,
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        options=options,
        inputs=[passport.describe(spec, profiles) for spec in inputs],
        outputs=[passport.describe(spec) for spec in outputs],
        precision={
            "asked": precision,
            "layers": layers,
            "computed": computed,
            "engine": engine,
            "time": shares,
            "tf32": None if library.is_rtx else precision == "tf32",
        },
        preprocess=preprocess.to_dict() if preprocess else None,
        classes=list(names) if names else None,
        build_seconds=round(seconds, 3),
    )
    record.write(target)
    if timings_key:
        _keep_timings(timings_key, result.timings, timings, library, device)
    return target


def cached(onnx: Path, *, backend: str, device: int, **options: Any) -> Path:
    """Return the plan that :func:`build` makes of a model: from the cache, or built into it.

    Parameters
    ----------
    onnx : Path
    backend, device, **options
        Those of :func:`build`.
    """
    if options.get("precision") == "auto":
        raise InputError("precision='auto' is for trtfast.build: build it, and load the engine")
    if options.get("samples") is not None:
        raise InputError(
            "samples= is for trtfast.build, which runs an engine once: build it, and load the "
            "engine, or verify this one"
        )
    if options.get("classes") is not None:  # a file's names count, not where it is
        options["classes"] = class_names(options["classes"])
    if (samples := options.get("calibration")) is not None:
        options["calibration"] = _calibrate(onnx, samples, options.get("preprocess"))
    gpu = backends.gpu(device)
    library = backends.select(backend, device=gpu)
    key = cache.key_of(
        onnx=model.sha256(model.read(onnx)[0]),
        trtfast=_core.__version__,
        tensorrt=[library.product, library.version],
        compute_capability=gpu.compute_capability if gpu else None,
        driver=_core.driver_version() // 1000,
        options={name: value for name, value in options.items() if name != "progress"},
    )
    return cache.get(key, lambda path: build(onnx, path, backend=backend, device=device, **options))


def _calibrate(
    onnx: Path | onnx.ModelProto,
    samples: Samples | Calibration,
    preprocess: Preprocess | None,
) -> Calibration:
    from .precision.calibrate import calibrate  # NumPy takes long to import

    return calibrate(onnx, samples, preprocess=preprocess)


def _timings_key(
    library: _core.Library, gpu: _core.Device | None, given: str | os.PathLike[str] | None
) -> str | Path | None:
    """Return the file or the key of what TensorRT measured; None where it measures nothing."""
    if given is not None and not library.keeps_timings:
        raise InputError(
            f"{library.product} {library.version} measures nothing that a timing cache could keep: "
            "leave it out"
        )
    if given is not None:
        return Path(given)
    if gpu is None or not library.keeps_timings:
        return None
    return cache.key_of(
        timings=[library.product, library.version], gpu=gpu.name, driver=_core.driver_version()
    )


def _keep_timings(
    key: str | Path, made: bytes, known: bytes | None, library: _core.Library, device: int
) -> None:
    def merge(one: bytes, other: bytes) -> bytes:
        return _core.merge_timings(library, device, one, other)

    try:
        cache.write_timings(key, made, known, merge)
    except (OSError, BuildError) as error:
        logger.warning("what TensorRT measured is not kept for the next build: %s", error)


def _target(path: str | os.PathLike[str] | None, origin: Path | None) -> Path:
    if path is None and origin is None:
        raise InputError("say where the engine goes: build(model, 'model.engine')")
    target = Path(path) if path is not None else Path(str(origin)).with_suffix(".engine")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
