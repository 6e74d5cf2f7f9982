"""The times of layers on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


def test_layers_are_timed_and_the_engine_serves_on(engine_of: Callable[[str], Path]) -> None:
    inputs = zoo.CASES["two_in_two_out"].inputs()
    with trtfast.Engine(engine_of("two_in_two_out"), lanes=1) as engine:
        before = engine.infer(inputs)
        layers = engine.profile(inputs, runs=3)
        assert layers
        assert all(layer.name and 0 <= layer.milliseconds < 1000 for layer in layers)
        assert sum(layer.milliseconds for layer in layers) > 0
        assert len({layer.name for layer in layers}) == len(layers)
        for name, values in engine.infer(inputs).items():
            assert np.array_equal(values, before[name])


def test_profile_takes_what_infer_takes(engine_of: Callable[[str], Path]) -> None:
    inputs = zoo.CASES["two_in_two_out"].inputs()
    with trtfast.Engine(engine_of("two_in_two_out")) as engine:
        halves = {name: array.astype(np.float16) for name, array in inputs.items()}
        assert engine.profile(halves, runs=1)  # cast, as for infer
        with pytest.raises(trtfast.InputError, match="runs must be 1 or more"):
            engine.profile(inputs, runs=0)
        with pytest.raises(trtfast.InputError, match="unknown inputs"):
            engine.profile({"nothing": next(iter(inputs.values()))})
    with pytest.raises(trtfast.ClosedError):
        engine.profile(inputs)
