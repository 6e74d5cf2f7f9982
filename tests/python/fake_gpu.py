"""The stand-in's GPU in this process: the rules that it checks, and runs that it holds back."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from typing_extensions import Self

import trtfast
from trtfast import _core

TWICE = b"input x float32 -1,2\noutput y float32 -1,2\nop twice y = affine 2 1 x\n"
"""A model in the stand-in's format: y = 2 x + 1, of any number of rows of 2."""

PAIR = (
    b"input a float32 -1,2\ninput b float32 -1,2\n"
    b"output sum float32 -1,2\noutput twice float32 -1,2\n"
    b"op add sum = add a b\nop double twice = affine 2 0 a\n"
)
"""sum = a + b, twice = 2 a."""


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Return rows of 2 that float32 doubles without rounding, like those of no other seed."""
    return np.random.default_rng(seed).integers(-999, 999, (count, 2)).astype(np.float32)


def answer(batch: np.ndarray) -> np.ndarray:
    return 2 * batch + 1


def build(
    library: Path,
    model: bytes = TWICE,
    *ranges: tuple[int, int, int] | tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> bytes:
    """Return a plan with a profile for each (min, opt, max) of rows, by default 1, 4 and 200.

    They are rows of 2, or whole shapes.
    """
    inputs = [line.split()[1].decode() for line in model.splitlines() if line.startswith(b"input")]
    profiles = [
        {
            name: tuple((bound, 2) if isinstance(bound, int) else bound for bound in bounds)
            for name in inputs
        }
        for bounds in ranges or ((1, 4, 200),)
    ]
    plan = bytearray()
    _core.build(
        *(
            _core.Library(library),
            model,
            "",
            profiles,
            None,
            None,
            [],
            False,
            0,
            b"",
            None,
            plan.extend,
        )
    )
    return bytes(plan)


class Shared:
    """An array of a library that has no DLPack, only the array interface."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__cuda_array_interface__ = interface
        self._owner = owner


class _Managed(ctypes.Structure):
    """DLPack's DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Lent:
    """What DLPack calls an array of no dimensions on GPU 0, of any dtype; it has no memory."""

    def __init__(self, code: int, bits: int, lanes: int) -> None:
        self._managed = _Managed(device=(2, 0), code=code, bits=bits, lanes=lanes)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self._managed), b"dltensor", None)


class Strict:
    """An array that is lent, as PyTorch's are, only while its GPU is the current one."""

    def __init__(self, array: trtfast.DeviceArray, gpu: FakeGpu) -> None:
        self._array = array
        self._gpu = gpu

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, *, stream: int) -> object:
        if self._gpu.current_device() != self._array.device:
            raise BufferError("this GPU is not the current one")
        return self._array.__dlpack__(stream=stream)


class Gate:
    """Holds back the runs that read :meth:`held`, until it is opened."""

    def __init__(self, gpu: FakeGpu, fake: ctypes.CDLL) -> None:
        self._gpu = gpu
        self._fake = fake
        # To free an array waits for the GPU, and who opens the gate may be the one who collects it.
        self._collects = gc.isenabled()
        gc.disable()
        gpu.set_late(True)
        self._gate = fake.fake_cuda_shut_gate()
        assert self._gate
        self._opening = threading.Lock()  # for a timer and the test may both open it

    def held(self, values: np.ndarray) -> Shared:
        """Return an array on the GPU that is not ready before the gate is open."""
        return self._gpu.array(values, stream=self._fake.fake_cuda_gate_stream(self._gate))

    def wait(self) -> None:
        """Wait until a run is held back, and its lane so taken."""
        self._fake.fake_cuda_wait_for_gate(self._gate)

    def open(self) -> None:
        with self._opening:
            if self._gate:
                self._fake.fake_cuda_open_gate(self._gate)
                self._gate = None
                if self._collects:
                    gc.enable()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open()


class Stream:
    """A stream of the caller's; it has to live as long as what was made on it."""

    def __init__(self, fake: ctypes.CDLL) -> None:
        self._fake = fake
        self.handle: int = fake.fake_cuda_open_stream()
        assert self.handle

    def wait(self) -> None:
        self._fake.fake_cuda_wait_for_stream(self.handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._fake.fake_cuda_close_stream(self.handle)


class FakeGpu:
    """The fake CUDA runtime that the extension is linked with, and the libraries that run on it."""

    RELEASES = ("10.16", "11.1", "rtx1.5")

    def __init__(self, folder: Path) -> None:
        # For the libraries to find the fake, the extension's exported names become global.
        self._fake = ctypes.CDLL(_core.__file__, mode=os.RTLD_GLOBAL)
        for function in ("fake_cuda_faults", "fake_cuda_leaks"):
            getattr(self._fake, function).restype = ctypes.c_char_p
        self._fake.fake_cuda_allocate.argtypes = [ctypes.c_int, ctypes.c_size_t]
        for function in ("allocate", "shut_gate", "gate_stream", "open_stream"):
            getattr(self._fake, f"fake_cuda_{function}").restype = ctypes.c_void_p
        self._fake.fake_cuda_free.argtypes = [ctypes.c_int, ctypes.c_void_p]
        handles = ("gate_stream", "wait_for_gate", "open_gate", "wait_for_stream", "close_stream")
        for function in handles:
            getattr(self._fake, f"fake_cuda_{function}").argtypes = [ctypes.c_void_p]
        self.libraries = {
            name: next(
                path for path in (folder / name).glob("lib*.so.*") if "parser" not in path.name
            )
            for name in self.RELEASES
        }
        self._loaded = [ctypes.CDLL(str(path)) for path in self.libraries.values()]
        for library in self._loaded:
            library.standin_violations.restype = ctypes.c_char_p

    def begin(self) -> None:
        """Work at once, with no rule broken so far."""
        self._fake.fake_cuda_set_late(False)
        self._fake.fake_cuda_forget_faults()
        for library in self._loaded:
            library.standin_reset()

    def broken_rules(self) -> str:
        """Return the rules of CUDA and TensorRT that were broken since, one a line."""
        told: list[Any] = [self._fake.fake_cuda_faults()]
        told += [library.standin_violations() for library in self._loaded]
        return b"\n".join(text for text in told if text).decode()

    def set_late(self, late: bool) -> None:
        """Let work wait until something waits for it."""
        self._fake.fake_cuda_set_late(late)

    def fail(self, function: str, nth: int = 1) -> None:
        """Make the n-th call from now of a function of CUDA fail."""
        self._fake.fake_cuda_fail(function.encode(), nth)

    def keep(self) -> None:
        """Count nothing that is open now as a leak."""
        self._fake.fake_cuda_keep()

    def leaks(self) -> str:
        """Return what is open and was not kept, in words."""
        told: bytes = self._fake.fake_cuda_leaks()
        return told.decode()

    def current_device(self) -> int:
        device: int = self._fake.fake_cuda_current_device()
        return device

    def array(self, values: np.ndarray, *, device: int = 0, stream: int | None = None) -> Shared:
        """Return these values in a GPU's memory, which is the host's, so they are there at once."""
        memory = self._fake.fake_cuda_allocate(device, values.nbytes)
        assert memory
        ctypes.memmove(memory, values.ctypes.data, values.nbytes)
        interface = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (memory, False),
            "version": 3,
            "strides": None,
            "stream": stream,
        }
        shared = Shared(interface, None)
        # Not at exit: freeing waits for the GPU, which a gate may hold back for good.
        weakref.finalize(shared, self._fake.fake_cuda_free, device, memory).atexit = False
        return shared

    def stream(self) -> Stream:
        return Stream(self._fake)

    def gate(self) -> Gate:
        return Gate(self, self._fake)
