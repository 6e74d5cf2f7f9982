"""What the translations of other libraries' pipelines share: reading steps, and refusing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import InputError

__all__ = ["Step", "refuse", "refuse_order"]


class Step:
    """One step of a pipeline: an object of the other library, or its serialised form.

    Parameters
    ----------
    name : str
        The class, without its module.
    source : object
        The transform, with its arguments as attributes, or a mapping of its arguments.
    """

    def __init__(self, name: str, source: object) -> None:
        self.name = name
        self._source = source

    def get(self, argument: str, default: Any = None) -> Any:
        """Return an argument; the default where this version of the library has none."""
        if isinstance(self._source, Mapping):
            return self._source.get(argument, default)
        return getattr(self._source, argument, default)

    def expect(self, argument: str, expected: object) -> None:
        """Raise InputError unless the argument is absent or has the one value that is supported."""
        value = self.get(argument, expected)
        if value != expected:
            raise InputError(
                f"{self.name} has {argument}={value!r}, which is not supported; "
                f"expected {argument}={expected!r}"
            )


def refuse(name: str, *, is_random: bool, supported: tuple[str, ...]) -> NoReturn:
    """Raise InputError for a step that cannot be translated."""
    if is_random:
        raise InputError(
            f"{name} has no meaning at inference, for it changes images at random: translate the "
            "pipeline of validation, or leave it out"
        )
    raise InputError(f"{name} is not supported; expected {', '.join(supported)}")


def refuse_order(steps: list[Step], supported: tuple[str, ...]) -> NoReturn:
    """Raise InputError for steps that are all known, but not in this order."""
    raise InputError(
        f"the pipeline is {', '.join(step.name for step in steps) or 'empty'}; expected "
        f"{', '.join(supported)}, each optional and in this order"
    )
