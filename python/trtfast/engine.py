"""The TensorRT engine: a plan on a GPU, called with arrays from any thread."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _core, binding, futures
from .errors import InputError
from .opening import LoadedPlan, Options
from .report import EngineStats, LayerTime, MemoryReport

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from .binding import Shapes
    from .futures import InferenceFuture
    from .preprocess import Preprocess
    from .preprocess.images import Images
    from .spec import Array, Outputs

__all__ = ["Engine"]


class Engine(LoadedPlan):
    """A TensorRT engine on a GPU.

    One engine serves calls from any number of threads, and from asyncio; each call runs on a lane
    of its own, with an execution context, a CUDA stream, page-locked buffers and captured graphs,
    and without the GIL. Calls that find no free lane wait, in the order of their arrival.

    Parameters
    ----------
    source : path or bytes
        A plan (``.engine``, ``.plan``, ``.trt``), or one of Ultralytics with its description.
        Beside a path, its passport is read, if there.
    device : int
        The GPU's index.
    lanes : int
        How many calls run at once, 1 or more. Each needs memory for a context and buffers; see
        :meth:`memory_report`.
    cuda_graph : bool
        Whether a lane captures its first run of some shapes, for later ones to be one launch. The
        bits of the outputs are the same. See :meth:`warmup`.
    wait : "spin" or "block"
        How a call waits for the GPU: "spin" is quickest and keeps a core busy, "block" sleeps, and
        answers about 0.1 milliseconds later.
    max_queue : int, optional
        How many calls may wait for a lane; one more raises QueueFullError. By default any number.
    activation_memory : "lane" or "shared"
        Whether each lane has memory for the layers' results, or all share one: then their runs take
        turns on the GPU, and only copies overlap.
    pad_to_bucket : bool
        Whether a batch for which there is no graph yet runs in a larger one that has been captured,
        with zeros for the missing rows. Right for models whose rows do not affect each other.
    nvtx : bool
        Whether calls are ranges in the domain "trtfast" on the timeline of a profiler, as Nsight
        Systems: of the plan's name, and in it queue, compute_input, launch, wait and output.
    backend : "auto", "tensorrt" or "tensorrt_rtx"
        Which TensorRT; by default the one that built the plan.
    preprocess : Preprocess, optional
        How :meth:`infer_images` prepares images; by default what the passport or the description
        of Ultralytics says.
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
    PrecisionError
        If the plan is in float8, and this TensorRT does not run that on this GPU.
    TensorRTNotFoundError, UnsupportedVersionError, OutOfMemoryError, CudaError
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        device: int = 0,
        lanes: int = 2,
        cuda_graph: bool = True,
        wait: Literal["spin", "block"] = "spin",
        max_queue: int | None = None,
        activation_memory: Literal["lane", "shared"] = "lane",
        pad_to_bucket: bool = False,
        nvtx: bool = False,
        backend: str = "auto",
        preprocess: Preprocess | None = None,
        allow_unsupported_gpu: bool | None = None,
        rebuild: bool = False,
        onnx: str | os.PathLike[str] | None = None,
    ) -> None:
        options = Options(
            device=device,
            lanes=lanes,
            cuda_graph=cuda_graph,
            wait=wait,
            max_queue=max_queue,
            activation_memory=activation_memory,
            pad_to_bucket=pad_to_bucket,
            nvtx=nvtx,
            backend=backend,
            preprocess=preprocess,
            allow_unsupported_gpu=allow_unsupported_gpu,
        )
        super().__init__(source, options, rebuild=rebuild, onnx=onnx)
        if self.passport is not None:
            self.passport.check_measured(self.gpu, self.tensorrt)
        # What a call may give: where rows are added, any number of them up to the largest.
        self._accepted = tuple(map(binding.padded, self._inputs)) if pad_to_bucket else self._inputs

    @overload
    def infer(
        self, inputs: Mapping[str, Array], *, deadline: float | None = None
    ) -> dict[str, Array]: ...
    @overload
    def infer(
        self,
        inputs: Any,
        *,
        out: Any = None,
        stream: Any = None,
        deadline: float | None = None,
    ) -> Any: ...
    def infer(
        self,
        inputs: Any,
        *,
        out: Any = None,
        stream: Any = None,
        deadline: float | None = None,
    ) -> Any:
        """Run the engine once; safe from several threads.

        Parameters
        ----------
        inputs : array, sequence of arrays in the order of ``inputs``, or mapping from name to array
            NumPy arrays: a dtype that NumPy casts safely is cast, any other has to be right, and an
            array that is not contiguous is copied right. Page-locked ones (:meth:`empty_input`)
            are read by the GPU itself. Or arrays on the GPU, of any library that has DLPack or the
            CUDA array interface: contiguous, of exactly the engine's dtype, not copied, and read
            after what their producer's stream does so far.
        out : array, sequence, or mapping from name to array, optional
            Where the outputs go, in the form of :meth:`empty_output`: writable, contiguous, of the
            outputs' dtypes and shapes, on the host or on the GPU. No memory is allocated then.
        stream : int, torch.cuda.Stream or cupy.cuda.Stream, optional
            A CUDA stream that the run is submitted to; the call does not wait for it. All arrays
            must be on the GPU, and stay as they are until the stream has done its work.
        deadline : float, optional
            Seconds from now within which a lane must be free; else the call is not run.

        Returns
        -------
        dict for a mapping; else the array of a single output, or a tuple
            ``out`` where given; new NumPy arrays, owned by the caller, where all inputs are on the
            host; else :class:`DeviceArray`.

        Raises
        ------
        InputError
            If a name, dtype, rank or shape is wrong, or a shape is outside all profiles.
        QueueFullError
            If ``max_queue`` calls wait already.
        DeadlineExceededError
            If no lane was free in time.
        ClosedError
            After :meth:`close`.
        OutOfMemoryError, CudaError
        """
        handle = None if stream is None else binding.stream_handle(stream)
        results = self._core.infer(inputs, out, handle, deadline)
        if results is None:
            results = self._core.infer(self._prepare(inputs), out, handle, deadline)
        self._keeper.keep_news()
        if stream is not None:
            binding.keep_stream(results, stream)
        return results

    def infer_async(self, inputs: Any, *, deadline: float | None = None) -> InferenceFuture:
        """Begin a run and return at once; safe from several threads.

        The run happens on a thread of the engine's, of which there are as many as lanes. The arrays
        given must stay as they are until it has ended.

        Parameters
        ----------
        inputs, deadline
            As in :meth:`infer`.

        Returns
        -------
        InferenceFuture
            Its ``result(timeout)`` is what :meth:`infer` returns, or raises; it can be awaited.

        Raises
        ------
        InputError, QueueFullError, ClosedError
        """
        begin = functools.partial(_core.infer_async, self._core)
        return futures.begin(begin, inputs, self._prepare, deadline)

    def empty_input(self, shapes: Shapes = None) -> Any:
        """Return page-locked arrays to fill with inputs, which reach the GPU without a copy.

        Parameters
        ----------
        shapes : shape of the single input, or mapping from name to shape, optional
            By default the best shapes of the first profile.

        Returns
        -------
        array of zeros for a single input, else dict from name to array
        """
        wanted = binding.shapes_of(shapes, self._accepted)
        return binding.alone(
            {
                spec.name: _core.pinned_array(list(wanted[spec.name]), spec.dtype)
                for spec in self._inputs
            }
        )

    def empty_output(self, shapes: Shapes = None) -> Any:
        """Return page-locked arrays for ``out=``, which the GPU writes without a copy.

        Parameters
        ----------
        shapes : shape of the single input, or mapping from input name to shape, optional
            Of the inputs that these outputs will follow from; by default the best shapes.

        Returns
        -------
        array of zeros for a single output, else dict from name to array
        """
        wanted = binding.shapes_of(shapes, self._accepted)
        found = self._core.output_shapes([list(wanted[spec.name]) for spec in self._inputs])
        if any(size < 0 for shape in found for size in shape):
            raise InputError(
                "the shape of an output depends on data: run infer without out=, which returns new "
                "arrays"
            )
        return binding.alone(
            {
                spec.name: _core.pinned_array(shape, spec.dtype)
                for spec, shape in zip(self._outputs, found, strict=True)
            }
        )

    def warmup(self, shapes: Shapes | Sequence[Shapes] = None) -> None:
        """Run and capture every lane before there is traffic, so that no call has to.

        Parameters
        ----------
        shapes : shape of the single input, mapping from name to shape, or list of these, optional
            By default the best shapes of each profile.

        Raises
        ------
        InputError
            If a shape does not fit, or the engine computes shapes from inputs' values.
        """
        self._core.warm_up(
            [
                [list(wanted[spec.name]) for spec in self._inputs]
                for wanted in binding.sets_of(shapes, self._inputs)
            ]
        )
        self._keeper.keep_news()

    def stats(self) -> EngineStats:
        """Return what was counted since the load or :meth:`reset_stats`."""
        return EngineStats.of(self._core.stats())

    def reset_stats(self) -> None:
        """Count from zero again."""
        self._core.reset_stats()

    def memory_report(self) -> MemoryReport:
        """Return the bytes that the engine holds, by lane and kind."""
        return MemoryReport.of(self._core.memory(), self._plan_bytes)

    @overload
    def infer_images(self, images: Images, *, on_error: Literal["raise"] = "raise") -> Any: ...
    @overload
    def infer_images(
        self, images: Images, *, on_error: Literal["skip"]
    ) -> tuple[Any, dict[int, InputError]]: ...
    def infer_images(self, images: Images, *, on_error: Literal["raise", "skip"] = "raise") -> Any:
        """Run the engine on images, which the GPU preprocesses.

        The engine must have one input, of the shape that its :class:`Preprocess` gives. Pixels
        travel as bytes. More images than the largest batch are run in several, and files are read
        while the batch before them runs.

        Parameters
        ----------
        images : uint8 array (H, W, 3) or (N, H, W, 3), path, bytes, or sequence of them
            RGB where they are arrays, which may differ in size, and may be on the GPU; paths and
            bytes are of image files, as OpenCV decodes them.
        on_error : {"raise", "skip"}
            Whether the first image that is wrong raises, or all such are left out and told of.

        Returns
        -------
        The array of a single output, or a tuple; one row for each good image, in order
        dict of int to InputError
            Only with "skip": what is wrong with each of the others, by its index.

        Raises
        ------
        InputError
            If the engine has no preprocessing or takes no images, or for the first image that is
            wrong, unless it is skipped.
        ClosedError, OutOfMemoryError, CudaError
        Error
            If an image has to be decoded, and OpenCV is not installed.
        """
        from .preprocess import gpu

        preprocess = binding.image_preprocess(self._preprocess, self._inputs)
        (spec,) = self._inputs

        def run(good: list[Any]) -> Outputs:
            binding.check_profiles({spec.name: preprocess.shape(len(good))}, self._accepted)
            arranged = gpu.arrange(preprocess, good)
            outputs: Outputs = _core.infer_images(self._core, *arranged)
            return outputs

        largest = binding.largest_batch(spec)
        results = gpu.run_in_parts(preprocess, images, largest, on_error, run, self._outputs)
        self._keeper.keep_news()
        return results

    def profile(self, inputs: Any, *, runs: int = 10) -> tuple[LayerTime, ...]:
        """Time each layer, on a context and memory of its own, while a lane stands still.

        Layers run one by one then, so their sum is more than what :meth:`infer` takes.

        Parameters
        ----------
        inputs
            As in :meth:`infer`.
        runs : int
            How many runs the times are the mean of, 1 or more; one before them is not counted.

        Raises
        ------
        InputError, ClosedError, OutOfMemoryError, CudaError
        """
        times = self._core.profile(inputs, runs)
        if times is None:
            times = self._core.profile(self._prepare(inputs), runs) or []
        return tuple(LayerTime(name, milliseconds) for name, milliseconds in times)

    def inspect(self) -> str:
        """Return what TensorRT's engine inspector tells of the layers, as JSON."""
        return self._core.inspect()

    def reopened(self, **options: Any) -> Engine:
        """Return another engine of the same plan, with some options of :class:`Engine` changed.

        Raises
        ------
        InputError
            If the plan was given as bytes, which are not kept.
        """
        if self._path is None:
            raise InputError("this plan was given as bytes: open another engine with Engine(bytes)")
        return Engine(self._path, **vars(self._options) | options)

    def close(self) -> None:
        """Wait for calls under way, and free all that is on the GPU. May be called again."""
        self._keeper.finish()
        self._core.close()
        self._plan_bytes = 0

    def _prepare(self, inputs: Any) -> Any:
        """Return inputs as the core takes them, cast and copied; or tell their fault."""
        return binding.prepared(inputs, self._accepted)
