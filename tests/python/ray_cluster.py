"""Ray on this machine alone: several processes, that tell nobody and obey nobody else."""

from __future__ import annotations

import secrets
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray import serve
from ray.serve._private import api, client
from ray.util import list_named_actors

PATIENCE = 240
"""Seconds within which all comes true, also on a busy machine, where Ray takes minutes to start."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray listens on all interfaces. A token of one's own, or it leaves one in the user's home.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default, of which it warns
    # Load is told of by replicas, and often.
    "RAY_SERVE_COLLECT_AUTOSCALING_METRICS_ON_HANDLE": "0",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.1",
    "RAY_metrics_report_interval_ms": "500",  # rather than ten seconds
    # On a busy machine a proxy takes longer to start than Ray waits before it kills it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(PATIENCE),
}


@contextmanager
def cluster(gpus: int = 0, setup: Callable[[], None] | None = None) -> Iterator[str]:
    """Start Ray, whose address is given; each of its processes calls ``setup`` first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        for module in (api, client):  # which wait a minute for proxies
            patch.setattr(module, "HTTP_PROXY_TIMEOUT", PATIENCE)
        ray.init(
            num_cpus=16,  # that many processes may be placed, whatever there is
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=2**28,
            runtime_env={"worker_process_setup_hook": setup} if setup is not None else None,
        )
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            serve.shutdown()
            ray.shutdown()


@contextmanager
def serving(gpus: int = 0, setup: Callable[[], None] | None = None) -> Iterator[str]:
    """Start Ray with the HTTP proxy of Ray Serve, whose address is given."""
    with cluster(gpus, setup):
        port = free_port()
        options = {"host": "127.0.0.1", "port": port}
        serve.start(http_options=options, logging_config={"log_level": "ERROR"})
        yield f"http://127.0.0.1:{port}"


def run(name: str, made: serve.Deployment) -> serve.handle.DeploymentHandle:
    """Deploy an application, which ends at once when nothing is under way, under its name."""
    made = made.options(graceful_shutdown_wait_loop_s=0.1)
    return serve.run(made.bind(), name=name, route_prefix=f"/{name}")


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def replicas(application: str) -> list[str]:
    """Return the names of the actors that are an application's replicas."""
    names = (actor["name"] for actor in list_named_actors(all_namespaces=True))
    return sorted(name for name in names if name.startswith(f"SERVE_REPLICA::{application}#"))


def stats_of(handle: serve.handle.DeploymentHandle, count: int) -> dict[str, dict[str, Any]]:
    """Return what each of so many replicas has counted, by its name."""
    found: dict[str, dict[str, Any]] = {}

    def all_told() -> bool:
        # Several at once: one after another would all go to a replica that is idle.
        for answer in [handle.stats.remote() for _ in range(8 * count)]:
            stats = answer.result(timeout_s=PATIENCE)
            found[stats["replica"]] = stats
        return len(found) == count

    until(all_told)
    return found


def metrics(application: str) -> dict[str, dict[tuple[str, str | None], float]]:
    """Return what Prometheus reads: of each replica, by name and reason."""
    (node,) = ray.nodes()
    with urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics") as got:
        lines = got.read().decode().splitlines()
    ours = "\n".join(line for line in lines if line.startswith("ray_nv_inference_"))
    found: dict[str, dict[tuple[str, str | None], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(ours):
        for name, labels, value, *_ in family.samples:
            if labels["application"] == application:
                found[labels["replica"]][name.removeprefix("ray_"), labels.get("reason")] = value
    return found


def running(application: str) -> int:
    """Return how many replicas take requests."""
    (deployment,) = serve.status().applications[application].deployments.values()
    return int(deployment.replica_states.get("RUNNING", 0))


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < end, "it does not come true"
        sleep(0.1)
