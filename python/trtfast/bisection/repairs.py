"""What keeps a node from a precision, and which nodes to keep next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .layers import NodeError

__all__ = ["Repair", "lists_of", "repairs_of", "worst"]

Repair: TypeAlias = tuple[str, str]
"""A node's name, and what it stays in: "fp32"; or "fp16", where it would be quantised."""


def repairs_of(keep_fp32: Collection[str], keep_fp16: Collection[str]) -> tuple[Repair, ...]:
    """Return the repairs that a build's options stand for."""
    return (*((name, "fp32") for name in keep_fp32), *((name, "fp16") for name in keep_fp16))


def lists_of(repairs: Collection[Repair]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ``keep_fp32`` and ``keep_fp16``, in which a node that is in the one is not."""
    full, half = (
        [name for name, dtype in repairs if dtype == wanted] for wanted in ("fp32", "fp16")
    )
    return tuple(full), tuple(name for name in half if name not in full)


def worst(
    ranked: Sequence[NodeError],
    keep: Collection[Repair],
    count: int,
    quantised: Collection[str] = (),
) -> tuple[Repair, ...]:
    """Return repairs of the nodes that add most error, of those that are not in ``keep``.

    What is quantised is to be float16 before anything is float32, for its errors grow in nodes that
    add none; but not what overflows, which float16 alone does, and one node stays quantised. A node
    that is in float32 and yet adds much cannot help it: its inputs come rounded, so those are
    repaired that give them.

    Parameters
    ----------
    ranked : sequence of NodeError
        The largest growth first.
    keep : collection of Repair
    count : int
        About how many.
    quantised : collection of str
        Names of the nodes that are quantised without repairs.
    """
    left = set(quantised) - {name for name, _ in keep}
    spare = len(left) - 1
    growing = [node for node in ranked if node.growth > 0]
    overflows = any(node.growth == math.inf and (node.name, "fp32") not in keep for node in growing)
    halves = [node.name for node in growing if node.name in left][: min(count, max(spare, 0))]
    if halves and not overflows:
        return tuple((name, "fp16") for name in halves)
    found: dict[str, None] = {}
    for node in growing:
        if len(found) >= count:
            break
        names = node.producers if (node.name, "fp32") in keep else (node.name,)
        for name in names:
            if not name or name in found or (name, "fp32") in keep:
                continue
            if name in left:
                if spare == 0:
                    continue
                spare -= 1
            found[name] = None
    return tuple((name, "fp32") for name in found)
