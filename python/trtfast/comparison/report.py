"""What a comparison found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import passport
from ..verification.report import plain
from .page import write_page

if TYPE_CHECKING:
    import os

    from ..profiling.report import LayerProfile
    from ..verification.metrics import OutputErrors
    from ..verification.report import Determinism
    from ..verification.tolerance import Tolerance

__all__ = ["CompareReport", "Contender", "Latency", "Prediction", "Split"]


@dataclass(frozen=True)
class Prediction:
    """A class that a contender gives for a row, with its confidence, 0 to 1."""

    index: int
    confidence: float
    label: str | None


@dataclass(frozen=True)
class Latency:
    """How long a call takes, from NumPy arrays to NumPy arrays.

    Attributes
    ----------
    batch : int
        Rows in each call.
    median, p90, p99 : float
        Seconds.
    low, high : float
        Between these the median lies with a confidence of 96 %.
    calls : int
        How many were measured.
    """

    batch: int
    median: float
    p90: float
    p99: float
    low: float
    high: float
    calls: int

    @property
    def throughput(self) -> float:
        """Rows in a second, with one call after another."""
        return self.batch / self.median


@dataclass(frozen=True)
class Split:
    """Where the time of a call goes; seconds, and None for what could not be told.

    Attributes
    ----------
    batch : int
    preprocess : float or None
        From images in memory to inputs, where there were images: on the GPU, with the transfer of
        their bytes in the place of the inputs'; in PyTorch's case on a core of the CPU.
    copy_in : float or None
        Into page-locked memory, and from there to the GPU.
    compute : float or None
        The layers, with what a launch and a wait cost.
    copy_out : float or None
        Back, and into the caller's arrays.
    postprocess : float or None
        The five best classes of each row, on the CPU, where an output holds scores.
    """

    batch: int
    preprocess: float | None
    copy_in: float | None
    compute: float | None
    copy_out: float | None
    postprocess: float | None


@dataclass(frozen=True)
class Contender:
    """One way to run the model.

    Attributes
    ----------
    name : str
    runs_on : str
        What runs it, and where.
    precision : str
    tolerance : Tolerance
        By which ``failures`` were found: that of the precision.
    outputs : tuple of OutputErrors
        Against the model in float32.
    determinism : Determinism or None
        Of engines.
    failures : tuple of str
        What is wrong, a sentence each, as :func:`trtfast.verify` says it.
    predictions : tuple of tuple of Prediction
        Of the first rows, where an output holds scores.
    latency : tuple of Latency
        For each batch size.
    split : tuple of Split
        Of engines on a GPU, for each batch size.
    layers : tuple of LayerProfile
        Of engines on a GPU, at the largest batch size; see :func:`trtfast.profile`.
    device_bytes, host_bytes : int or None
        What it holds on the GPU, and of page-locked memory.
    plan_bytes : int or None
    build_seconds : float or None
    path : str or None
        Where the plan lies.
    """

    name: str
    runs_on: str
    precision: str
    tolerance: Tolerance
    outputs: tuple[OutputErrors, ...]
    determinism: Determinism | None
    failures: tuple[str, ...]
    predictions: tuple[tuple[Prediction, ...], ...]
    latency: tuple[Latency, ...]
    split: tuple[Split, ...]
    layers: tuple[LayerProfile, ...]
    device_bytes: int | None
    host_bytes: int | None
    plan_bytes: int | None
    build_seconds: float | None
    path: str | None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def at(self, batch: int) -> Latency:
        """Return the latency at a batch size."""
        return next(each for each in self.latency if each.batch == batch)


@dataclass(frozen=True)
class CompareReport:
    """A model in PyTorch and in engines, side by side.

    Attributes
    ----------
    model : str
    environment : dict
        ``date``, ``gpu``, ``cuda``, ``tensorrt``, ``cpu``, ``cores``, ``python``, ``packages``.
    clocks : list of dict
        The GPU's clocks, power and temperature before and after, in MHz, W and °C.
    samples : int
        How many calls the errors are of.
    contenders : tuple of Contender
        The first is what the others are compared with.
    """

    model: str
    environment: dict[str, Any]
    clocks: list[dict[str, str]]
    samples: int
    contenders: tuple[Contender, ...]

    def __getitem__(self, name: str) -> Contender:
        """Return the contender of a name."""
        return next(each for each in self.contenders if each.name == name)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with any engine."""
        return all(each.passed for each in self.contenders)

    def speedup(self, name: str, batch: int) -> float:
        """Return how many times as fast as the first a contender is."""
        return self.contenders[0].at(batch).median / self[name].at(batch).median

    def record(self) -> None:
        """Write into the passports of the engines what was measured of them.

        From then on :class:`trtfast.Engine` warns where its GPU or TensorRT is another.
        """
        gpu = self.environment["gpu"]
        for each in self.contenders:
            if each.path is not None and gpu is not None:
                figures = {
                    "passed": each.passed,
                    "median": {str(at.batch): at.median for at in each.latency},
                    "max_relative": {out.name: plain(out.max_relative) for out in each.outputs},
                }
                passport.record(Path(each.path), "compare", gpu, each.runs_on, figures)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; null stands for what is infinite or NaN."""
        found: dict[str, Any] = plain(asdict(self))
        return found

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_dict())

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page that holds all of it, with plots, and needs nothing else.

        Raises
        ------
        Error
            If Jinja or Matplotlib is not installed.
        """
        write_page(self.to_dict(), Path(path))
