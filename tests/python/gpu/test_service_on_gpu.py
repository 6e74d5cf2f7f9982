"""On a GPU: graphs, buckets, page-locked arrays, statistics, memory and devices."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiny
import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.mark.parametrize("name", ["two_in_two_out", "resnet50", "mobilenet_v3_large", "vit_b_16"])
def test_a_graph_gives_the_bits_of_the_plain_run(
    name: str, engine_of: Callable[[str], Path]
) -> None:
    plan = engine_of(name)
    with trtfast.Engine(plan) as graphs, trtfast.Engine(plan, cuda_graph=False) as plain:
        for batch in (1, 3, 8):
            inputs = {
                spec.name: np.random.default_rng(batch).standard_normal(
                    (batch, *spec.shape[1:]), np.float32
                )
                for spec in graphs.inputs
            }
            wanted = plain.infer(inputs)
            for _ in range(4):  # the first call runs plainly, and is captured then
                given = graphs.infer(inputs)
                assert all(given[key].tobytes() == wanted[key].tobytes() for key in wanted)
        assert graphs.stats().graph_hits > 0
        assert plain.stats().graph_hits == 0


def test_stats_count_calls_and_graphs(engine: trtfast.Engine) -> None:
    engine.warmup([(4, 8), (6, 8)])
    before = engine.stats()
    for count in (4, 6, 4, 4, 6):
        engine.infer(zoo.rows(count))
    after = engine.stats()
    assert after.calls - before.calls == 5
    assert after.graph_hits - before.graph_hits == 5
    assert after.graph_misses == before.graph_misses
    for part in ("queue", "compute_input", "infer", "output", "total"):
        times = getattr(after, part)
        assert times.count - getattr(before, part).count == 5
        assert 0 <= times.p50 <= times.p90 <= times.p99 <= times.max
    assert 0 < after.infer.mean <= after.total.mean < 60


def test_a_bucket_takes_a_smaller_batch(doubling: Path) -> None:
    with trtfast.Engine(doubling, pad_to_bucket=True) as engine:
        engine.warmup([(8, 8), (32, 8)])
        misses = engine.stats().graph_misses
        for count in (1, 5, 8, 9, 31, 32, 5):
            given = engine.infer(zoo.rows(count, seed=count))
            assert np.array_equal(given, 2 * zoo.rows(count, seed=count))
        assert engine.stats().graph_misses == misses


def test_an_empty_batch_gives_an_empty_answer(tmp_path: Path) -> None:
    onnx_file = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 8))
    shapes = {"min_shapes": (0, 8), "opt_shapes": (4, 8), "max_shapes": (8, 8)}
    plan = trtfast.build(onnx_file, **{key: {"image": value} for key, value in shapes.items()})
    with trtfast.Engine(plan) as engine:
        for count in (4, 0, 0, 3):
            given = engine.infer(zoo.rows(count))
            assert given.shape == (count, 8)
            assert given.dtype == np.float32
            assert np.array_equal(given, 2 * zoo.rows(count))


def test_a_scalar_goes_in_and_comes_out(tmp_path: Path) -> None:
    plan = trtfast.build(zoo.make_doubling(tmp_path / "scalar.onnx", ()))
    with trtfast.Engine(plan) as engine:
        for value in (1.5, -3.0, 0.25):
            given = engine.infer(np.array(value, np.float32))
            assert given.shape == ()
            assert given == 2 * value


def test_bytes_travel_as_they_are(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["wide"], to=TensorProto.FLOAT, name="widen"),
        helper.make_node("Add", ["wide", "wide"], ["y"], name="double"),
    ]
    pixels = tiny.value("pixels", "n", 100, dtype=TensorProto.UINT8)
    onnx.save(tiny.model_of(nodes, [pixels], [tiny.value("y", "n", 100)]), tmp_path / "bytes.onnx")
    with trtfast.Engine(trtfast.build(tmp_path / "bytes.onnx")) as engine:
        assert engine.inputs[0].dtype == np.uint8
        batch = np.random.default_rng(0).integers(0, 256, (7, 100), np.uint8)
        for _ in range(3):
            assert np.array_equal(engine.infer(batch), 2 * batch.astype(np.float32))
        with pytest.raises(trtfast.InputError, match="float32"):
            engine.infer(batch.astype(np.float32))


def test_half_precision_travels_as_it_is(tmp_path: Path) -> None:
    onnx_file = zoo.make_doubling(tmp_path / "half.onnx", ("n", 8))
    with trtfast.Engine(trtfast.build(onnx_file, keep_io=False)) as engine:
        batch = zoo.rows(5).astype(np.float16)
        for _ in range(3):
            given = engine.infer(batch)
            assert given.dtype == np.float16
            assert np.array_equal(given, 2 * batch)
        with pytest.raises(trtfast.InputError, match="float32"):
            engine.infer(zoo.rows(5))


def test_page_locked_arrays_go_in_and_come_out(engine: trtfast.Engine) -> None:
    given, out = engine.empty_input((5, 8)), engine.empty_output((5, 8))
    assert (given.shape, given.dtype) == ((5, 8), np.float32)
    assert (out.shape, out.dtype) == ((5, 8), np.float32)
    for seed in range(4):
        given[...] = zoo.rows(5, seed)
        out[...] = np.nan
        engine.infer(given, out=out)
        assert np.array_equal(out, 2 * zoo.rows(5, seed))
        assert np.array_equal(engine.infer(given), out)
        assert np.array_equal(engine.infer(zoo.rows(5, seed)), out)


def test_several_page_locked_arrays(engine_of: Callable[[str], Path]) -> None:
    inputs = zoo.CASES["two_in_two_out"].inputs()
    shapes = {name: array.shape for name, array in inputs.items()}
    with trtfast.Engine(engine_of("two_in_two_out")) as engine:
        wanted = engine.infer(inputs)
        given, out = engine.empty_input(shapes), engine.empty_output(shapes)
        for name, array in inputs.items():
            given[name][...] = array
        for _ in range(3):
            for array in out.values():
                array[...] = np.nan
            engine.infer(given, out=out)
            assert all(np.array_equal(out[name], wanted[name]) for name in wanted)


def test_pageable_out_is_filled(engine: trtfast.Engine) -> None:
    out = np.full((5, 8), np.nan, np.float32)
    engine.infer(zoo.rows(5), out=out)
    assert np.array_equal(out, 2 * zoo.rows(5))


@pytest.mark.parametrize(
    "out", [np.empty((4, 8), np.float32), np.empty((5, 8)), np.empty((5, 9), np.float32)]
)
def test_out_that_does_not_fit_is_refused(engine: trtfast.Engine, out: np.ndarray) -> None:
    with pytest.raises(trtfast.InputError, match=r"out|output"):
        engine.infer(zoo.rows(5), out=out)
    assert np.array_equal(engine.infer(zoo.rows(5)), 2 * zoo.rows(5))


def test_page_locked_arrays_outlive_their_engine(doubling: Path) -> None:
    with trtfast.Engine(doubling) as engine:
        given = engine.empty_input((5, 8))
    given[...] = zoo.rows(5)
    assert np.array_equal(given, zoo.rows(5))


def test_large_pageable_input_arrives_whole(tmp_path: Path) -> None:
    shape = (24, 3, 224, 224)
    plan = trtfast.build(zoo.make_doubling(tmp_path / "large.onnx", ("n", *shape[1:])))
    with trtfast.Engine(plan, lanes=2) as engine:
        batches = [
            np.random.default_rng(seed).integers(-999, 999, shape).astype(np.float32)
            for seed in range(3)
        ]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for _ in range(3):
                for given, batch in zip(pool.map(engine.infer, batches), batches, strict=True):
                    assert np.array_equal(given, 2 * batch)


def test_memory_report_grows_with_lanes_and_shrinks_when_shared(
    engine_of: Callable[[str], Path],
) -> None:
    def held(**options: Any) -> int:
        with trtfast.Engine(engine_of("vit_b_16"), **options) as engine:
            engine.warmup((8, 3, 224, 224))
            return _sum(engine.memory_report())

    one, four = held(lanes=1), held(lanes=4)
    image = 8 * 3 * 224 * 224 * 4
    assert one > image
    assert four - one > 3 * image
    assert held(lanes=4, activation_memory="shared") < four


def _sum(report: Any) -> int:
    """Return the sum of all numbers of a report, however deep."""
    if dataclasses.is_dataclass(report) and not isinstance(report, type):
        report = dataclasses.asdict(report)
    if isinstance(report, Mapping):
        report = list(report.values())
    return sum(map(_sum, report)) if isinstance(report, (list, tuple)) else int(report)


def test_engines_on_two_gpus(doubling: Path) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    with trtfast.Engine(doubling, device=0) as first, trtfast.Engine(doubling, device=1) as second:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [(engine, seed) for seed in range(50) for engine in (first, second)]
            for (_, seed), given in zip(
                calls, pool.map(lambda c: c[0].infer(zoo.rows(5, c[1])), calls), strict=True
            ):
                assert np.array_equal(given, 2 * zoo.rows(5, seed))
        out = torch.from_dlpack(second.infer(torch.from_numpy(zoo.rows(5)).to("cuda:1")))
        assert out.device.index == 1
        assert np.array_equal(out.cpu().numpy(), 2 * zoo.rows(5))
        with pytest.raises(trtfast.InputError, match="is on GPU 1, and the engine on GPU 0"):
            first.infer(torch.from_numpy(zoo.rows(5)).to("cuda:1"))
