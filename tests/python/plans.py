"""Plans made to look as if another TensorRT had built them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from trtfast import passport
from trtfast.passport import Passport

OTHER = "1.4.0.76"
_VERSION_AT = 24


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
