"""Several releases of TensorRT: side by side in one process, and a plan of one met by another."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import trtfast
import zoo
from trtfast import backend
from trtfast.passport import Passport

OTHERS = [path for path in os.environ.get("TRTFAST_OTHER_TENSORRTS", "").split(os.pathsep) if path]

pytestmark = pytest.mark.skipif(
    not OTHERS, reason="TRTFAST_OTHER_TENSORRTS names no other releases: tools/test does"
)


@pytest.fixture
def all_releases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All releases at hand, the installed one first; returns their versions."""
    installed = backend.select().path.parent
    monkeypatch.setenv("TRTFAST_TENSORRT_PATH", os.pathsep.join([str(installed), *OTHERS]))
    return [library.version for library in backend.libraries()]


def test_every_release_is_found_with_its_generation(all_releases: list[str]) -> None:
    generations = {library.version: library.generation for library in backend.libraries()}
    assert len(generations) == 1 + len(OTHERS)
    for version, generation in generations.items():
        minor = int(version.split(".")[1])
        assert generation == ("rtx14" if minor <= 4 else "rtx15")


def test_each_release_builds_in_one_process(all_releases: list[str], tmp_path: Path) -> None:
    onnx = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 3, 8, 8))
    for turn in range(2):  # and again, after all the others
        for version in all_releases:
            plan = trtfast.build(onnx, tmp_path / f"{version}.{turn}.engine", backend=version)
            known = Passport.of(plan)
            assert known is not None
            assert known.version == version


def test_part_of_a_version_is_enough(all_releases: list[str]) -> None:
    for version in all_releases:
        major, minor, *_ = version.split(".")
        assert backend.select(f"{major}.{minor}").version == version
    with pytest.raises(trtfast.TensorRTNotFoundError, match=r"10\.16"):
        backend.select("10.16")


def test_plan_of_another_release_is_refused_by_name(
    all_releases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 3, 8, 8))
    for builder in all_releases:
        plan = trtfast.build(onnx, tmp_path / f"{builder}.engine", backend=builder)
        for loader in all_releases:
            if loader == builder:
                continue
            with pytest.raises(trtfast.EngineIncompatibleError) as caught:
                trtfast.Engine(plan, backend=loader)
            assert builder in str(caught.value)
            assert loader in str(caught.value)


def test_check_says_what_a_plan_needs(
    all_releases: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 3, 8, 8))
    first, second, *_ = all_releases
    plan = trtfast.build(onnx, tmp_path / "model.engine", backend=second)
    monkeypatch.delenv("TRTFAST_TENSORRT_PATH")
    verdict = trtfast.check(plan)
    assert (verdict.product, verdict.version, verdict.loads) == ("TensorRT-RTX", second, False)
    assert second in verdict.problems[0]
    assert first in verdict.problems[0]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.* does not list .* as supported")
def test_two_generations_run_side_by_side(all_releases: list[str], tmp_path: Path) -> None:
    onnx = zoo.make_doubling(tmp_path / "doubling.onnx", ("n", 3, 8, 8))
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float16)
    versions = [version for version in all_releases if version.split(".")[1] in ("4", "5")]
    plans = [trtfast.build(onnx, tmp_path / f"{v}.engine", backend=v) for v in versions]
    engines = [trtfast.Engine(plan) for plan in plans]
    for _ in range(3):
        for engine in engines:
            assert np.array_equal(engine.infer(image.astype(np.float32)), 2.0 * image)
