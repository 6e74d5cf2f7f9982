"""What :func:`trtfast.profile` found: layers, their times, and how near they are to the roof."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import trace

if TYPE_CHECKING:
    import os

    from ..spec import Shape
    from .roofline import Position, Roof

__all__ = ["LayerProfile", "ProfileReport"]


@dataclass(frozen=True)
class LayerProfile:
    """A layer that ran. What is not known of it is None.

    Attributes
    ----------
    name : str
        TensorRT's, or the node's on the reference engine.
    nodes : tuple of str
        The ONNX nodes that it was made of, in part or whole.
    kind : str or None
        TensorRT's word for what it is, or ONNX's operator.
    dtype : str or None
        What it computes in: for a convolution or a matrix product the narrowest dtype it takes, for
        others what they give.
    shapes : tuple of (tuple of int, or None)
        Of its outputs.
    milliseconds, share : float
        The mean over the runs, and its share of all layers' sum.
    bytes : int or None
        Of what it takes, weights included, and of what it gives, each tensor once.
    flops : int or None
        Of the convolutions and matrix products in it; 0 if there are none.
    position : Position or None
        Where it is under the roof.
    """

    name: str
    nodes: tuple[str, ...]
    kind: str | None
    dtype: str | None
    shapes: tuple[Shape | None, ...]
    milliseconds: float
    share: float
    bytes: int | None
    flops: int | None
    position: Position | None

    @property
    def intensity(self) -> float | None:
        """Operations for each byte."""
        return self.flops / self.bytes if self.flops is not None and self.bytes else None

    @property
    def tflops(self) -> float | None:
        """TFLOP/s of its convolutions and matrix products."""
        known = self.flops is not None and self.milliseconds > 0
        return (self.flops or 0) / self.milliseconds / 1e9 if known else None

    @property
    def bandwidth(self) -> float | None:
        """GB/s."""
        known = self.bytes is not None and self.milliseconds > 0
        return (self.bytes or 0) / self.milliseconds / 1e6 if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, with what follows from it."""
        more = {name: getattr(self, name) for name in ("intensity", "tflops", "bandwidth")}
        return asdict(self) | more


@dataclass(frozen=True)
class ProfileReport:
    """Where the time of an engine goes.

    Attributes
    ----------
    engine : str
        The TensorRT that ran it, or ``"ReferenceEngine"``.
    gpu : str or None
    inputs : dict of str to tuple of int
        The shapes that ran.
    runs : int
        How many runs the times are the mean of.
    layers : tuple of LayerProfile
        In the order in which they ran.
    flops : int or None
        Of all convolutions and matrix products of the ONNX model, where it is known.
    roof : Roof or None
        The GPU's peaks.
    """

    engine: str
    gpu: str | None
    inputs: dict[str, Shape]
    runs: int
    layers: tuple[LayerProfile, ...]
    flops: int | None
    roof: Roof | None

    @property
    def milliseconds(self) -> float:
        """The sum of all layers, which run one by one here: more than a call of ``infer`` takes."""
        return sum(layer.milliseconds for layer in self.layers)

    @property
    def by_dtype(self) -> dict[str, float]:
        """Which share of the time is spent in each dtype, the largest first."""
        spent: Counter[str] = Counter()
        for layer in self.layers:
            spent[layer.dtype or "unknown"] += layer.share  # type: ignore[assignment]
        return dict(spent.most_common())

    def top(self, count: int = 10) -> tuple[LayerProfile, ...]:
        """Return the layers that take longest."""
        ordered = sorted(self.layers, key=lambda layer: layer.milliseconds, reverse=True)
        return tuple(ordered[:count])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, with what follows from it."""
        sums = {"milliseconds": self.milliseconds, "by_dtype": self.by_dtype}
        return asdict(self) | sums | {"layers": [layer.to_dict() for layer in self.layers]}

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_dict())

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the layers as a timeline, for https://ui.perfetto.dev or ``chrome://tracing``."""
        trace.write(self, path)
