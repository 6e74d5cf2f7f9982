"""The reference engine: an ONNX model on ONNX Runtime's CPU provider.

It stands in where no GPU is, and it is the yardstick that ``verify`` holds an engine against.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np

from . import binding, futures
from . import model as models
from .binding import bind, joined, unbind
from .errors import ClosedError, Error, InputError
from .report import LayerTime
from .spec import Closing, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

    from .futures import InferenceFuture
    from .preprocess import Images, Preprocess
    from .spec import Array, Inputs, Outputs

    class ModelProto(Protocol):
        """What is used of ``onnx.ModelProto``."""

        def SerializeToString(self) -> bytes: ...  # noqa: N802


__all__ = ["ReferenceEngine", "running"]

# ONNX Runtime's names for element types, where NumPy's differ.
_NUMPY_NAMES = {"float": "float32", "double": "float64"}
_PLAIN_TYPES = {
    *("bool", "float16", "float", "double"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
# ONNX Runtime's name, that of ml_dtypes, and the number of the type in ONNX: NumPy has none of
# them, so ONNX Runtime takes them as plain bits beside the number.
_ML_TYPES = (
    ("bfloat16", "bfloat16", 16),
    ("float8e4m3fn", "float8_e4m3fn", 17),
    ("float8e5m2", "float8_e5m2", 19),
)
# It quantises the biases of a quantised graph, in float16 by scales that float16 does not hold:
# measured with ONNX Runtime 1.32, results are then wrong.
_DISABLED = ["WeightBiasQuantization"]
_CLOSED = "the reference engine is closed; make a new ReferenceEngine"


class ReferenceEngine(Closing):
    """Runs an ONNX model on the CPU, with the interface of :class:`trtfast.Engine`.

    Safe to use from many threads. As a context manager it closes at the end of the block.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        A model with external data has to be given by its path.
    preprocess : Preprocess, optional
        How :meth:`infer_images` prepares images.

    Raises
    ------
    InputError
        If the file is missing, or ONNX Runtime cannot load the model.
    Error
        If ONNX Runtime is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | ModelProto,
        *,
        preprocess: Preprocess | None = None,
    ) -> None:
        self._preprocess = preprocess
        self._ort = _onnxruntime()
        self._source = model
        _, name = _source(model)
        session = self._load(self._ort.SessionOptions())
        self._inputs = tuple(_spec(node, name) for node in session.get_inputs())
        self._outputs = tuple(_spec(node, name) for node in session.get_outputs())
        self._session: Any = session
        # One thread, for a run takes all cores.
        self._pool = ThreadPoolExecutor(1, "trtfast-reference")

    @property
    def source(self) -> str | os.PathLike[str] | bytes | ModelProto:
        """The model, as it was given."""
        return self._source

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs; -1 for each dynamic dimension."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs; -1 for each dimension that is not known beforehand."""
        return self._outputs

    @property
    def preprocess(self) -> Preprocess | None:
        """How :meth:`infer_images` prepares images; None if that is not known."""
        return self._preprocess

    @overload
    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...
    @overload
    def infer(self, inputs: Array | Sequence[Array]) -> Any: ...
    def infer(self, inputs: Inputs) -> Outputs:
        """Run the model.

        Parameters
        ----------
        inputs : array, sequence of arrays in the order of ``inputs``, or mapping from name to array
            A dtype that NumPy casts safely is cast; any other has to be right.

        Returns
        -------
        dict for a mapping; else the array of a single output, or a tuple
            New arrays, owned by the caller.

        Raises
        ------
        InputError
            If a name, dtype, rank or shape is wrong.
        ClosedError
            After :meth:`close`.
        Error
            If ONNX Runtime fails while it runs the model.
        """
        return unbind(self._run(self._open_session(), bind(inputs, self._inputs)), inputs)

    def infer_async(self, inputs: Any, *, deadline: float | None = None) -> InferenceFuture:
        """Begin a run and return at once; safe from several threads.

        Runs follow each other on a thread of the engine's. The arrays given must stay as they are
        until theirs has ended.

        Parameters
        ----------
        inputs
            As in :meth:`infer`.
        deadline : float, optional
            Seconds from now within which the run must begin; else it fails.

        Returns
        -------
        InferenceFuture
            Its ``result(timeout)`` is what :meth:`infer` returns, or raises; it can be awaited.

        Raises
        ------
        InputError, ClosedError
        """
        session = self._open_session()
        bound = bind(inputs, self._inputs)
        try:
            return futures.start_on(
                self._pool, lambda: unbind(self._run(session, bound), inputs), deadline
            )
        except RuntimeError as error:  # of a pool that another thread has just shut
            raise ClosedError(_CLOSED) from error

    @overload
    def infer_images(self, images: Images, *, on_error: Literal["raise"] = "raise") -> Any: ...
    @overload
    def infer_images(
        self, images: Images, *, on_error: Literal["skip"]
    ) -> tuple[Any, dict[int, InputError]]: ...
    def infer_images(self, images: Images, *, on_error: Literal["raise", "skip"] = "raise") -> Any:
        """Run the model on images, prepared on the CPU.

        Parameters
        ----------
        images : uint8 array (H, W, 3) or (N, H, W, 3), path, bytes, or sequence of them
            RGB where they are arrays; paths and bytes are of image files, as OpenCV decodes them.
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
            If there is no preprocessing or the model takes no images, or an image is wrong; the
            message has its index.
        ClosedError, Error
            As :meth:`infer` does, or if OpenCV is not installed.
        """
        preprocess = binding.image_preprocess(self._preprocess, self._inputs)
        good, errors = preprocess.read(images, on_error=on_error)
        (spec,) = self._inputs
        outputs: Outputs
        if good:
            outputs = self.infer(preprocess(good).astype(spec.dtype, copy=False))
        else:  # all were skipped: no rows, and what the model gives without is not asked
            outputs = joined([], self._outputs)
        return outputs if on_error == "raise" else (outputs, errors)

    def profile(self, inputs: Inputs, *, runs: int = 10) -> tuple[LayerTime, ...]:
        """Time each node of the model, which is read again for it.

        The nodes run as they are written: nothing is fused, so their sum is more than what
        :meth:`infer` takes. What runs inside control flow counts in its node.

        Parameters
        ----------
        inputs
            As in :meth:`infer`.
        runs : int
            How many runs the times are the mean of, 1 or more; one before them is not counted.

        Returns
        -------
        tuple of LayerTime
            In the order in which the nodes ran. Casts that ONNX Runtime adds, as it has no kernels
            for float16, have names of their own.

        Raises
        ------
        InputError, ClosedError, Error
            As :meth:`infer` does.
        """
        if runs < 1:
            raise InputError(f"runs must be 1 or more, not {runs}")
        self._open_session()
        bound = bind(inputs, self._inputs)
        options = self._ort.SessionOptions()
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        with tempfile.TemporaryDirectory(prefix="trtfast-") as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._load(options)
            try:
                for _ in range(runs + 1):
                    self._run(session, bound)
            finally:
                file = Path(session.end_profiling())
            return _layer_times(json.loads(file.read_text()), runs)

    def close(self) -> None:
        """Wait for the calls that were begun, and release the model. May be called again."""
        self._session = None
        self._pool.shutdown()

    def _load(self, options: Any) -> Any:
        source, name = _source(self._source)
        options.log_severity_level = 4  # what fails is raised, and need not be printed as well
        try:
            return self._ort.InferenceSession(
                source,
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_DISABLED,
            )
        except Exception as error:  # ONNX Runtime's own classes have no base in common but this
            raise InputError(
                f"{name}: ONNX Runtime cannot load it; expected a whole, valid ONNX model: "
                f"{str(error).strip()}"
            ) from error

    def _open_session(self) -> Any:
        session = self._session  # one read: another thread may close
        if session is None:
            raise ClosedError(_CLOSED)
        return session

    def _run(self, session: Any, bound: Mapping[str, Array]) -> dict[str, Array]:
        feed = {name: self._to_ort(array) for name, array in bound.items()}
        names = [spec.name for spec in self._outputs]
        try:
            values = session.run_with_ort_values(names, feed)
        except Exception as error:  # as in _load
            raise Error(f"ONNX Runtime failed to run the model: {str(error).strip()}") from error
        return {
            spec.name: _to_numpy(value, spec)
            for spec, value in zip(self._outputs, values, strict=True)
        }

    def _to_ort(self, array: Array) -> Any:
        for _, name, number in _ML_TYPES:
            if array.dtype.name == name:
                bits = array.view(f"u{array.itemsize}")
                return self._ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, number)
        return self._ort.OrtValue.ortvalue_from_numpy(array)


def _layer_times(events: list[dict[str, Any]], runs: int) -> tuple[LayerTime, ...]:
    """Return the mean times of nodes, of ONNX Runtime's trace of one run more."""
    first = next(event for event in events if event["name"] == "model_run")
    start = first["ts"] + first["dur"]
    spent: dict[str, float] = {}
    end = 0.0
    # A node that runs others inside begins before them, or together with them and is longer.
    nodes = (event for event in events if event["cat"] == "Node" and event["ts"] >= start)
    for event in sorted(nodes, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] + event["dur"] <= end:
            continue
        end = event["ts"] + event["dur"]
        name = event["name"].removesuffix("_kernel_time")
        spent[name] = spent.get(name, 0.0) + event["dur"]
    return tuple(LayerTime(name, time / 1e3 / runs) for name, time in spent.items())


@contextmanager
def running(model: onnx.ModelProto) -> Iterator[ReferenceEngine]:
    """Open a model of any size: what is beyond 2 GB lies in files meanwhile."""
    with models.serialised(model) as (data, location):
        if location:
            Path(location).write_bytes(data)
        engine = ReferenceEngine(location or data)
    with engine:
        yield engine


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Error(
            "the reference engine needs ONNX Runtime, which is not installed: "
            'pip install "trtfast[reference]"'
        ) from error
    return onnxruntime


def _source(model: str | os.PathLike[str] | bytes | ModelProto) -> tuple[str | bytes, str]:
    """Return what ONNX Runtime loads, and what messages call it."""
    if isinstance(model, bytes):
        return model, f"ONNX model of {len(model)} bytes"
    if isinstance(model, (str, os.PathLike)):
        if not Path(model).is_file():
            raise InputError(f"{os.fspath(model)}: there is no such file; expected an ONNX model")
        return os.fspath(model), os.fspath(model)
    return model.SerializeToString(), "ONNX model"


def _spec(node: Any, model: str) -> TensorSpec:
    element = node.type.removeprefix("tensor(").removesuffix(")")
    if element in _PLAIN_TYPES:
        dtype: np.dtype[np.generic] = np.dtype(_NUMPY_NAMES.get(element, element))
    else:
        names = {ours: theirs for ours, theirs, _ in _ML_TYPES}
        if element not in names:
            raise InputError(
                f"{model}: '{node.name}' is {node.type}; expected a tensor of numbers or bool: "
                "remove it from the inputs and outputs when you export"
            )
        import ml_dtypes

        dtype = np.dtype(getattr(ml_dtypes, names[element]))
    return TensorSpec(
        node.name, dtype, tuple(size if isinstance(size, int) else -1 for size in node.shape)
    )


def _to_numpy(value: Any, spec: TensorSpec) -> Array:
    # OrtValue.numpy() knows no bfloat16, and may lend ONNX Runtime's own memory: copy the bytes.
    array: Array = np.empty(value.shape(), spec.dtype)
    ctypes.memmove(array.ctypes.data, value.data_ptr(), array.nbytes)
    return array
