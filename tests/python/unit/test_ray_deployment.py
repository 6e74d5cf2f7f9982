"""What a deployment for Ray Serve asks Ray for, and when a replica is unwell: without a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtfast
import zoo

pytest.importorskip("ray")
from ray_cluster import serve
from trtfast.integrations.ray import Replica, deployment


def options_of(made: serve.Deployment) -> dict[str, Any]:
    return {
        "gpus": made.ray_actor_options.get("num_gpus"),
        "ongoing": made.max_ongoing_requests,
        "queued": made.max_queued_requests,
        "replicas": made.num_replicas,
    }


def test_a_replica_takes_a_gpu_and_what_fills_its_lanes() -> None:
    assert options_of(deployment("m.onnx", num_replicas=3)) == {
        "gpus": 1,
        "ongoing": 96,
        "queued": 1024,
        "replicas": 3,
    }
    made = deployment("m.onnx", backend="reference", max_batch_size=8, lanes=4, max_queue=9)
    assert options_of(made) == {"gpus": 0, "ongoing": 40, "queued": 9, "replicas": 1}
    made = deployment("m.onnx", ray_actor_options={"num_gpus": 0.5, "num_cpus": 2})
    assert made.ray_actor_options["num_gpus"] == 0.5
    assert made.ray_actor_options["num_cpus"] == 2


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"num_replicas": "auto"}, 64),
        ({"autoscaling_config": {"max_replicas": 4}, "max_batch_size": 16}, 32),
        ({"autoscaling_config": {"target_ongoing_requests": 5}}, 5),
        ({"autoscaling_config": serve.config.AutoscalingConfig(target_ongoing_requests=7)}, 7),
    ],
)
def test_scaling_goes_by_full_lanes(options: dict[str, Any], target: int) -> None:
    config = deployment("m.onnx", **options)._deployment_config.autoscaling_config
    assert config.target_ongoing_requests == target


class Breaking(trtfast.ReferenceEngine):
    """An engine whose GPU is gone with the first row that is not zero."""

    def infer(self, inputs: Any) -> Any:
        if np.any(inputs["image"]):
            raise trtfast.CudaError("an illegal memory access was encountered")
        return super().infer(inputs)


def test_a_fault_of_cuda_is_bad_for_ones_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubling = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 8))
    monkeypatch.setattr("trtfast.integrations.ray._open", lambda _: Breaking(doubling))
    replica: Replica = deployment(doubling, backend="reference").func_or_class()
    replica.check_health()

    async def ask_it(inputs: np.ndarray) -> None:
        await replica(inputs)

    with pytest.raises(trtfast.InputError):
        asyncio.run(ask_it(np.zeros((1, 7), np.float32)))
    replica.check_health()
    with pytest.raises(trtfast.CudaError):
        asyncio.run(ask_it(zoo.rows(1)))
    with pytest.raises(trtfast.CudaError, match="illegal memory access"):
        replica.check_health()
    replica.__del__()  # as Ray does at the end
