"""What TensorRT measures in a build, kept in a file of the user's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tiny
import trtfast
from fake_gpu import TWICE
from trtfast import cache


@pytest.fixture(autouse=True)
def models_of_the_standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in parses its own format in the place of the ONNX model."""

    @contextmanager
    def serialised(_: object) -> Iterator[tuple[bytes, str]]:
        yield TWICE, ""

    monkeypatch.setattr(sys.modules["trtfast.build"].model, "serialised", serialised)


def build(folder: Path, backend: str = "11.1") -> Path:
    return trtfast.build(
        tiny.dense("batch", 2),
        folder / "m.engine",
        precision="fp32",
        backend=backend,
        timing_cache=folder / "timing.cache",
    )


def test_the_file_is_written_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTFAST_CACHE_DIR", str(tmp_path / "cache"))
    build(tmp_path)
    kept = tmp_path / "timing.cache"
    first = kept.read_bytes()
    assert first.startswith(b"stand-in timings ")
    assert cache.entries() == []  # and nothing in trtfast's own cache
    kept.write_bytes(first + b" of-another-model")
    build(tmp_path)
    assert sorted(kept.read_bytes().split()) == sorted([*first.split(), b"of-another-model"])


def test_tensorrt_rtx_has_no_use_for_one(tmp_path: Path) -> None:
    with pytest.raises(trtfast.InputError, match="measures nothing that a timing cache could keep"):
        build(tmp_path, backend="tensorrt_rtx")
    assert not any(tmp_path.iterdir())
