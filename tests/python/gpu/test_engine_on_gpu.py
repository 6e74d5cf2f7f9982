"""On a GPU: what the engine promises beside right numbers, and how it takes bad input."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.fixture(scope="module")
def engine(engine_of: Callable[[str], Path]) -> Iterator[trtfast.Engine]:
    with trtfast.Engine(engine_of("two_in_two_out")) as engine:
        yield engine


@pytest.fixture
def inputs() -> zoo.Arrays:
    return zoo.CASES["two_in_two_out"].inputs()


def test_specs_tell_names_dtypes_shapes_and_profiles(engine: trtfast.Engine) -> None:
    left, right = engine.inputs
    assert (left.name, left.dtype, left.shape) == ("left", np.float32, (-1, 16))
    assert (right.name, right.dtype, right.shape) == ("right", np.float32, (-1, 8))
    assert left.profiles == (trtfast.ShapeRange((1, 16), (8, 16), (32, 16)),)
    assert [(spec.name, spec.shape) for spec in engine.outputs] == [
        ("bounded", (-1, 8)),
        ("mean", (-1,)),
    ]


def test_all_forms_of_call_agree(engine: trtfast.Engine, inputs: zoo.Arrays) -> None:
    by_name = engine.infer(inputs)
    for given in (tuple(inputs.values()), list(inputs.values())):
        bounded, mean = engine.infer(given)
        assert np.array_equal(bounded, by_name["bounded"])
        assert np.array_equal(mean, by_name["mean"])


def test_every_batch_of_the_profile_is_right(
    engine: trtfast.Engine, onnx_of: Callable[[str], Path]
) -> None:
    rng = np.random.default_rng(1)
    with trtfast.ReferenceEngine(onnx_of("two_in_two_out")) as reference:
        for batch in (1, 32, 2, 31, 8, 1):
            inputs = {
                "left": rng.standard_normal((batch, 16), np.float32),
                "right": rng.standard_normal((batch, 8), np.float32),
            }
            given, wanted = engine.infer(inputs), reference.infer(inputs)
            for name in wanted:
                np.testing.assert_allclose(given[name], wanted[name], atol=1e-2)


def test_arrays_that_are_not_contiguous_give_the_right_answer(
    engine: trtfast.Engine, inputs: zoo.Arrays
) -> None:
    wanted = engine.infer(inputs)
    strided = {name: np.asfortranarray(array) for name, array in inputs.items()}
    backward = {name: array[::-1].copy()[::-1] for name, array in inputs.items()}
    assert not strided["left"].flags.c_contiguous
    for form in (strided, backward):
        given = engine.infer(form)
        assert all(np.array_equal(given[name], wanted[name]) for name in wanted)


def test_a_narrower_dtype_is_cast_and_a_wider_one_refused(
    engine: trtfast.Engine, inputs: zoo.Arrays
) -> None:
    half = {name: array.astype(np.float16) for name, array in inputs.items()}
    exact = {name: array.astype(np.float32) for name, array in half.items()}
    assert np.array_equal(engine.infer(half)["mean"], engine.infer(exact)["mean"])
    with pytest.raises(trtfast.InputError, match=r"float64.*astype\(np.float32\)"):
        engine.infer({**inputs, "left": inputs["left"].astype(np.float64)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {**x, "left": x["left"][0]}, "rank"),
        (lambda x: {**x, "left": x["left"][:, :15]}, "shape"),
        (
            lambda x: {name: np.zeros((33, a.shape[1]), np.float32) for name, a in x.items()},
            "profile",
        ),
        (lambda x: {"left": x["left"]}, "right"),
        (lambda x: {**x, "third": x["left"]}, "third"),
        (lambda x: {**x, "left": x["left"].astype(object)}, "object"),
        (lambda x: {**x, "left": x["left"].tolist()}, "list"),
        (lambda x: x["left"], "2"),
    ],
)
def test_bad_input_is_refused_and_the_engine_goes_on(
    engine: trtfast.Engine,
    inputs: zoo.Arrays,
    change: Callable[[zoo.Arrays], zoo.Arrays],
    message: str,
) -> None:
    before = engine.infer(inputs)
    with pytest.raises(trtfast.InputError, match=message):
        engine.infer(change(inputs))
    after = engine.infer(inputs)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_nan_goes_in_and_comes_out(engine: trtfast.Engine, inputs: zoo.Arrays) -> None:
    left = inputs["left"].copy()
    left[1] = np.nan
    given = engine.infer({**inputs, "left": left})
    assert np.isnan(given["mean"][1])
    assert np.isfinite(given["mean"][[0, 2, 3, 4]]).all()


def test_output_arrays_belong_to_the_caller(engine: trtfast.Engine, inputs: zoo.Arrays) -> None:
    first = engine.infer(inputs)["bounded"]
    kept = first.copy()
    engine.infer({name: -array for name, array in inputs.items()})
    assert np.array_equal(first, kept)
    first[:] = 0  # writable


def test_calls_from_many_threads_get_their_own_answers(engine_of: Callable[[str], Path]) -> None:
    rng = np.random.default_rng(2)
    calls = [
        {
            "left": rng.standard_normal((batch, 16), np.float32),
            "right": rng.standard_normal((batch, 8), np.float32),
        }
        for batch in rng.integers(1, 33, 400)
    ]
    with trtfast.Engine(engine_of("two_in_two_out"), lanes=3) as engine:
        wanted = [engine.infer(call) for call in calls]
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(engine.infer, calls))
    for got, want in zip(given, wanted, strict=True):
        assert all(np.array_equal(got[name], want[name]) for name in want)


def test_the_gil_is_free_during_a_call(engine_of: Callable[[str], Path]) -> None:
    counted = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1

    with trtfast.Engine(engine_of("vit_b_16")) as engine:
        batch = zoo.images(32)
        engine.infer(batch)
        thread = threading.Thread(target=count)
        thread.start()
        before = counted
        engine.infer(batch)
        during = counted - before
        stop.set()
        thread.join()
    assert during > 0


def test_closed_engine_says_so(engine_of: Callable[[str], Path], inputs: zoo.Arrays) -> None:
    engine = trtfast.Engine(engine_of("two_in_two_out"))
    engine.close()
    engine.close()
    with pytest.raises(trtfast.ClosedError, match="closed"):
        engine.infer(inputs)


def test_close_waits_for_calls_under_way(
    engine_of: Callable[[str], Path], inputs: zoo.Arrays
) -> None:
    engine = trtfast.Engine(engine_of("two_in_two_out"))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(engine.infer, inputs) for _ in range(50)]
        futures[0].result()
        engine.close()
        errors = [future.exception() for future in futures]
    assert all(error is None or isinstance(error, trtfast.ClosedError) for error in errors)


@pytest.mark.parametrize("damage", ["empty", "truncated", "random", "flipped header"])
def test_damaged_plans_are_refused(
    damage: str, engine_of: Callable[[str], Path], tmp_path: Path, inputs: zoo.Arrays
) -> None:
    plan = engine_of("two_in_two_out").read_bytes()
    noise = np.random.default_rng(3).bytes(len(plan))
    broken = {
        "empty": b"",
        "truncated": plan[: len(plan) // 2],
        "random": noise,
        "flipped header": bytes([plan[0] ^ 0xFF]) + plan[1:],
    }[damage]
    path = tmp_path / "broken.engine"
    path.write_bytes(broken)
    with pytest.raises(trtfast.EngineIncompatibleError):
        trtfast.Engine(path)
    with trtfast.Engine(plan) as engine:
        assert engine.infer(inputs)["mean"].shape == (5,)


def test_plan_that_is_not_its_passports_is_refused(
    engine_of: Callable[[str], Path], tmp_path: Path
) -> None:
    source = engine_of("two_in_two_out")
    path = tmp_path / "changed.engine"
    path.write_bytes(source.read_bytes()[:-1] + b"x")
    (tmp_path / "changed.engine.json").write_text(
        source.with_name(source.name + ".json").read_text()
    )
    with pytest.raises(trtfast.EngineIncompatibleError, match="passport"):
        trtfast.Engine(path)


def test_too_little_device_memory(engine_of: Callable[[str], Path]) -> None:
    import torch

    batch = zoo.images(32)
    with trtfast.Engine(engine_of("vit_b_16")) as engine:
        wanted = engine.infer(batch)
    plan = engine_of("vit_b_16").read_bytes()
    hog = torch.empty(torch.cuda.mem_get_info()[0] - 96 * 2**20, dtype=torch.uint8, device="cuda")
    with pytest.raises(trtfast.OutOfMemoryError), trtfast.Engine(plan) as engine:
        engine.infer(batch)
    del hog
    torch.cuda.empty_cache()
    with trtfast.Engine(plan) as engine:
        assert np.array_equal(engine.infer(batch)["output"], wanted["output"])


def test_unlisted_gpu_is_refused_by_default(
    engine_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtfast import backend

    gpu = backend.require_gpu()
    plan = engine_of("two_in_two_out")
    monkeypatch.delenv("TRTFAST_ALLOW_UNSUPPORTED_GPU", raising=False)
    if backend.select().supports(gpu.compute_capability):
        trtfast.Engine(plan).close()
        return
    with pytest.raises(trtfast.UnsupportedDeviceError, match="TRTFAST_ALLOW_UNSUPPORTED_GPU"):
        trtfast.Engine(plan)
    with pytest.warns(UserWarning, match="does not list"):
        trtfast.Engine(plan, allow_unsupported_gpu=True).close()


def test_no_such_gpu(engine_of: Callable[[str], Path]) -> None:
    with pytest.raises(trtfast.UnsupportedDeviceError, match="99"):
        trtfast.Engine(engine_of("two_in_two_out"), device=99)


def test_inspector_reads_back_half_precision(engine_of: Callable[[str], Path]) -> None:
    with trtfast.Engine(engine_of("resnet50")) as engine:
        told = json.loads(engine.inspect())
    assert told["Layers"]
    assert "Half" in json.dumps(told) or "FP16" in json.dumps(told)


def test_load_builds_an_onnx_model_once(
    onnx_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: zoo.Arrays,
) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path))
    with trtfast.load(onnx_of("two_in_two_out")) as engine:
        assert isinstance(engine, trtfast.Engine)
        wanted = engine.infer(inputs)
    (plan,) = tmp_path.glob("*.engine")
    made = plan.stat().st_ino  # a plan that is made takes the place of the one before
    with trtfast.load(onnx_of("two_in_two_out")) as engine:
        assert np.array_equal(engine.infer(inputs)["mean"], wanted["mean"])
    assert plan.stat().st_ino == made


def test_compile_gives_what_the_module_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(20, 30), torch.nn.GELU(), torch.nn.Linear(30, 4)
    ).eval()
    sample = torch.randn(3, 20)
    with torch.inference_mode():
        wanted = module(sample).numpy()
    with trtfast.compile(module, sample) as engine:
        np.testing.assert_allclose(engine.infer(sample.numpy()), wanted, atol=5e-3)


@pytest.mark.parametrize("keep_io", [True, False])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_images_reach_the_engine_bit_for_bit(keep_io: bool, precision: str, tmp_path: Path) -> None:
    preprocess = trtfast.Preprocess(size=(60, 44))
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((60, 44), (200, 100), (9, 7))]
    onnx = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 3, 60, 44))
    plan = trtfast.build(onnx, precision=precision, keep_io=keep_io, preprocess=preprocess)
    with trtfast.Engine(plan) as engine:
        dtype = engine.inputs[0].dtype
        for batch in (images, images[:1], images * 5):
            given = engine.infer_images(batch)
            wanted = engine.infer(preprocess(batch).astype(dtype))
            assert given.shape == (len(batch), 3, 60, 44)
            assert given.tobytes() == wanted.tobytes()


def test_compiled_kernels_are_kept_for_the_next_start(
    engine_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtfast import backend, cache

    if not backend.select().is_rtx:
        pytest.skip("only TensorRT-RTX compiles kernels when it loads")
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path))
    batch = zoo.images(1)
    with trtfast.Engine(engine_of("mobilenet_v3_large")) as engine:
        wanted = engine.infer(batch)
    (entry,) = cache.entries()  # which closing has waited for
    kept = entry.path.read_bytes()
    with trtfast.Engine(engine_of("mobilenet_v3_large")) as engine:
        loaded = entry.path.stat().st_mtime_ns
        for _ in range(2):
            assert np.array_equal(engine.infer(batch)["output"], wanted["output"])
    assert entry.path.stat().st_mtime_ns == loaded  # nothing new, so nothing written
    entry.path.write_bytes(kept[: len(kept) // 2])  # a damaged cache costs time, and nothing else
    with trtfast.Engine(engine_of("mobilenet_v3_large")) as engine:
        assert np.array_equal(engine.infer(batch)["output"], wanted["output"])


def test_values_that_decide_shapes_may_change_from_call_to_call(
    onnx_of: Callable[[str], Path], engine_of: Callable[[str], Path]
) -> None:
    row = np.random.default_rng(5).standard_normal((1, 6), np.float32)
    reference = trtfast.ReferenceEngine(onnx_of("expand"))
    with trtfast.Engine(engine_of("expand"), lanes=1) as engine:
        for count in (2, 8, 1, 8, 3, 3):
            inputs = {"row": row, "size": np.array([count, 6])}
            given, wanted = engine.infer(inputs)["output"], reference.infer(inputs)["output"]
            assert given.shape == (count, 6)
            np.testing.assert_allclose(given, wanted, atol=1e-2)
