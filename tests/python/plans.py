"""Plans from the core alone, and plans as others make them: another TensorRT, or Ultralytics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trtfast import _core, backend, passport
from trtfast.passport import Passport

OTHER = "1.4.0.1"  # which was never released, so that it is not the one at hand
_VERSION_AT = 24


Range = tuple[Sequence[int], Sequence[int], Sequence[int]]


def build(
    data: bytes,
    location: str = "",
    profiles: Sequence[Mapping[str, Range]] = (),
    timings: bytes = b"",
) -> tuple[_core.BuildResult, bytes]:
    """Build a serialised model past all that Python does; return the plan too."""
    pieces: list[bytes] = []

    def keep(piece: memoryview) -> None:
        pieces.append(bytes(piece))

    library = backend.select()
    result = _core.build(
        library, data, location, profiles, None, None, [], False, 0, timings, None, keep
    )
    return result, b"".join(pieces)


def of_other(plan: Path, version: str = OTHER, product: str = "TensorRT-RTX") -> Path:
    """Change what a plan and its passport say of the TensorRT that built them."""
    tag = b"vtrt" if product == "TensorRT-RTX" else b"ftrt"
    data = plan.read_bytes()
    numbers = bytes(map(int, version.split(".")))
    data = tag + data[4:_VERSION_AT] + numbers + data[_VERSION_AT + 4 :]
    plan.write_bytes(data)
    known = Passport.of(plan)
    assert known is not None
    dataclasses.replace(
        known, version=version, product=product, plan_sha256=passport.sha256(data)
    ).write(plan)
    return plan


def of_ultralytics(plan: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Put a description before a plan, as Ultralytics does, and its length before that."""
    told = json.dumps(metadata).encode()
    return len(told).to_bytes(4, "little") + told + plan
