"""What an engine takes and gives: tensor specifications, and the protocol of all engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from .errors import InputError
    from .futures import InferenceFuture
    from .preprocess.images import Images

    Array: TypeAlias = npt.NDArray[np.generic]
    Inputs: TypeAlias = Array | Sequence[Array] | Mapping[str, Array]
    Outputs: TypeAlias = Array | tuple[Array, ...] | dict[str, Array]


Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class ShapeRange:
    """The shapes that one optimisation profile allows for an input: min, the best one, and max."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of an engine.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
        ``bfloat16`` and ``float8`` are those of ``ml_dtypes``.
    shape : tuple of int
        -1 where the dimension is dynamic or depends on data.
    profiles : tuple of ShapeRange
        For a dynamic input, its range in each optimisation profile; else empty.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: Shape
    profiles: tuple[ShapeRange, ...] = ()


class Closing(ABC):
    """What is closed at the end of a ``with``."""

    @abstractmethod
    def close(self) -> None:
        """Release what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Runs(Protocol):
    """What takes arrays by name and gives others."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the engine takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the engine gives."""

    @overload
    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...
    @overload
    def infer(self, inputs: Array | Sequence[Array]) -> Any: ...


@runtime_checkable
class InferenceEngine(Runs, Protocol):
    """What :class:`trtfast.Engine` and :class:`trtfast.ReferenceEngine` have in common."""

    def infer_async(self, inputs: Any, *, deadline: float | None = None) -> InferenceFuture:
        """Begin a run and return at once."""

    @overload
    def infer_images(self, images: Images, *, on_error: Literal["raise"] = "raise") -> Any: ...
    @overload
    def infer_images(
        self, images: Images, *, on_error: Literal["skip"]
    ) -> tuple[Any, dict[int, InputError]]: ...

    def close(self) -> None:
        """Release what the engine holds; it takes no more calls."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
