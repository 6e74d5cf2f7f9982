"""What a GPU can do at most, and how near to it a layer comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Position", "Roof"]

# Operations in a cycle of one multiprocessor, by compute capability: a multiplication and an
# addition are two; dense; and where products of a dtype run at several rates, by how sums are held
# or by the product line, the highest. Each is a peak that NVIDIA publishes divided by its GPU's
# multiprocessors and boost clock:
# - 7.5: "NVIDIA Turing GPU Architecture" (WP-09183-001), and the data sheet of the T4
# - 8.0: "NVIDIA A100 Tensor Core GPU Architecture"
# - 8.6: "NVIDIA Ampere GA102 GPU Architecture", and the data sheet of the A40
# - 8.9: "NVIDIA Ada GPU Architecture", and the data sheets of the L4 and the RTX 6000 Ada
# - 9.0: "NVIDIA H100 Tensor Core GPU Architecture"
# - 10.0: "NVIDIA Blackwell Architecture Technical Brief", and the data sheet of the DGX B200
# - 12.0: "NVIDIA RTX Blackwell GPU Architecture", and that of the RTX PRO line
# float32 is that of the CUDA cores, all else of the tensor cores. 0: they have no such products.
_DTYPES = ("float32", "tf32", "float16", "bfloat16", "int8", "float8_e4m3fn", "float4_e2m1fn")
_RATES = {
    75: (128, 0, 1024, 0, 2048, 0, 0),
    80: (128, 1024, 2048, 2048, 4096, 0, 0),
    86: (256, 512, 1024, 1024, 2048, 0, 0),
    89: (256, 512, 1024, 1024, 2048, 2048, 0),
    90: (256, 2048, 4096, 4096, 8192, 8192, 0),
    100: (256, 4096, 8192, 8192, 16384, 16384, 32768),
    120: (256, 512, 1024, 1024, 2048, 2048, 4096),
}


@dataclass(frozen=True)
class Position:
    """Where a layer is under the roof.

    Attributes
    ----------
    bound : "memory" or "compute"
        What it waits for at best.
    share : float
        The least time in which the GPU could do it, as a share of the time that it took.
    """

    bound: Literal["memory", "compute"]
    share: float


@dataclass(frozen=True)
class Roof:
    """The theoretical peaks of a GPU, at its highest clocks.

    Attributes
    ----------
    bandwidth : float or None
        Bytes in a second, from and to the GPU's memory.
    compute : dict of str to float
        Operations in a second by dtype; empty for a compute capability that is not known here.
    """

    bandwidth: float | None
    compute: dict[str, float]

    @classmethod
    def of(cls, gpu: _core.Device, *, tf32: bool | None = None) -> Roof:
        """Compute the peaks of a GPU.

        Parameters
        ----------
        gpu : the GPU
        tf32 : bool, optional
            Whether products of float32 may be computed in TF32. By default as None, where TensorRT
            decides: then the roof is that of TF32, under which both are.
        """
        # Two transfers in a cycle of the memory's clock.
        bandwidth = 2e6 * gpu.memory_clock_mhz * gpu.memory_bus_bits / 8
        cycles = 1e6 * gpu.clock_mhz * gpu.multiprocessors
        rates = dict(zip(_DTYPES, _RATES.get(gpu.compute_capability, ()), strict=False))
        fast = rates.pop("tf32", 0)
        if fast and tf32 is not False:
            rates["float32"] = fast
        compute = {dtype: cycles * rate for dtype, rate in rates.items() if cycles and rate}
        return cls(bandwidth or None, compute)

    def position(
        self, milliseconds: float, nbytes: int | None, flops: int | None, dtype: str | None
    ) -> Position | None:
        """Return where a layer is; None if something that it takes is not known.

        Parameters
        ----------
        milliseconds : float
        nbytes, flops : int or None
            What it moves and computes.
        dtype : str or None
            What it computes products in.
        """
        if self.bandwidth is None or nbytes is None or flops is None or milliseconds <= 0:
            return None
        moving, computing = nbytes / self.bandwidth, 0.0
        if flops:
            peak = self.compute.get(dtype or "")
            if peak is None:
                return None
            computing = flops / peak
        bound: Literal["memory", "compute"] = "compute" if computing > moving else "memory"
        return Position(bound, max(moving, computing) / (milliseconds / 1e3))
