"""On one and two GPUs: Ray Serve with a replica on each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
import zoo
from trtfast import _core, cache

pytest.importorskip("ray")
from ray_cluster import PATIENCE, ray, run, running, serve, serving, stats_of, until
from trtfast.integrations.ray import deployment

GPUS = len(_core.devices()[0])

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ray with all GPUs, and the folder of its replicas' cache."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTFAST_CACHE_DIR", str(folder))
        with serving(gpus=GPUS):
            yield folder


counts = pytest.mark.parametrize(
    "count",
    [
        1,
        pytest.param(2, marks=pytest.mark.skipif(GPUS < 2, reason="there are no two GPUs")),
    ],
)


def ask_all(handle: serve.handle.DeploymentHandle, inputs: list[np.ndarray]) -> list[Any]:
    async def ask() -> list[Any]:
        return await asyncio.gather(*(handle.remote(each) for each in inputs))

    return asyncio.run(asyncio.wait_for(ask(), PATIENCE))


@counts
def test_a_plan_is_loaded_on_each_gpu(count: int, cluster: Path, doubling: Path) -> None:
    made = deployment(doubling, num_replicas=count, max_queue_delay=0.002)
    handle = run("plan", made)
    assert running("plan") == count
    assert ray.available_resources().get("GPU", 0) == GPUS - count
    inputs = [zoo.rows(1 + index % 3, seed=index) for index in range(1000)]
    for given, answer in zip(inputs, ask_all(handle, inputs), strict=True):
        np.testing.assert_array_equal(answer, 2 * given)
    seen = stats_of(handle, count)
    assert sum(stats["calls"] for stats in seen.values()) == 1000
    assert all(0 < stats["executions"] < stats["calls"] for stats in seen.values())
    serve.delete("plan")
    until(lambda: ray.available_resources().get("GPU", 0) == GPUS)


@counts
def test_a_model_is_built_once_for_all(
    count: int, cluster: Path, onnx_of: Callable[[str], Path]
) -> None:
    onnx = onnx_of("resnet50")
    # A batch limit of its own, so that no other test has built it.
    shapes = {"max_shapes": {"image": (8 + count, 3, 224, 224)}}
    shapes["opt_shapes"] = {"image": (8, 3, 224, 224)}
    shapes["min_shapes"] = {"image": (1, 3, 224, 224)}
    before = set(cluster.glob("*.engine"))
    made = deployment(onnx, num_replicas=count, max_batch_size=8, precision="fp16", **shapes)
    handle = run("model", made)
    (plan,) = set(cluster.glob("*.engine")) - before
    images = zoo.images(8)["image"]
    with trtfast.Engine(plan) as engine:
        wanted = engine.infer(images)
    answers = ask_all(handle, [image[None] for image in images])
    np.testing.assert_allclose(np.concatenate(answers), wanted, rtol=0.02, atol=0.02)
    serve.delete("model")
    until(lambda: ray.available_resources().get("GPU", 0) == GPUS)
    assert cache.cache_dir() == cluster
