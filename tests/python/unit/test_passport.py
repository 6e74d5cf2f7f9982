from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast import passport
from trtfast.errors import EngineIncompatibleError
from trtfast.passport import Passport, describe, path_of, plan_version, replacing
from trtfast.spec import ShapeRange, TensorSpec

RECORD = Passport(
    plan_sha256=passport.sha256(b"plan"),
    onnx_sha256=passport.sha256(b"onnx"),
    product="TensorRT-RTX",
    version="1.5.0.114",
    generation="rtx15",
    trtfast="0.1.0",
    gpu=None,
    compute_capability=None,
    options={"precision": "fp16", "workspace": None},
    inputs=[{"name": "x", "dtype": "float32", "shape": [-1, 3]}],
    outputs=[{"name": "y", "dtype": "float32", "shape": [-1, 2]}],
    precision={"asked": "fp16", "layers": {"float16": 3}, "engine": None},
    preprocess={"size": [224, 224]},
    classes=["espresso", "Würstchen"],
)


def header(tag: bytes, *version: int) -> bytes:
    return tag + bytes(20) + bytes(version) + bytes(100)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    plan = tmp_path / "a.b.engine"
    RECORD.write(plan)
    assert path_of(plan) == tmp_path / "a.b.engine.json"
    assert Passport.of(plan) == RECORD
    assert list(tmp_path.iterdir()) == [path_of(plan)]


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert Passport.of(tmp_path / "model.engine") is None


def _without(name: str) -> Callable[[str], str]:
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != name})


@pytest.mark.parametrize(
    "damage",
    [
        *("", "null", "[1, 2]", "7", "{}"),
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps({**json.loads(text), "format": "one"}),
        lambda text: json.dumps({**json.loads(text), "colour": "red"}),
        _without("version"),
        _without("format"),
    ],
)
def test_damage_is_told(damage: str | Callable[[str], str], tmp_path: Path) -> None:
    plan = tmp_path / "model.engine"
    whole = json.dumps(asdict(RECORD))
    path_of(plan).write_text(damage if isinstance(damage, str) else damage(whole))
    with pytest.raises(EngineIncompatibleError, match=r"model\.engine\.json is damaged.*delete it"):
        Passport.of(plan)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    plan = tmp_path / "model.engine"
    path_of(plan).write_bytes(b'{"format": "\xff\xfe"}')
    with pytest.raises(EngineIncompatibleError, match="is damaged"):
        Passport.of(plan)


def test_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    plan = tmp_path / "model.engine"
    newer = asdict(replace(RECORD, format=passport.FORMAT + 1, trtfast="9.9")) | {"extra": 1}
    path_of(plan).write_text(json.dumps(newer))
    with pytest.raises(EngineIncompatibleError, match=r"newer trtfast, 9\.9: upgrade"):
        Passport.of(plan)


@pytest.mark.parametrize("tag", [b"ftrt", b"vtrt"])
def test_version_is_in_the_header(tag: bytes) -> None:
    assert plan_version(header(tag, 10, 13, 3, 9)) == "10.13.3.9"
    assert plan_version(header(tag, 1, 5, 0, 114)[:28]) == "1.5.0.114"


@pytest.mark.parametrize("tag", [b"ftrt", b"vtrt"])
def test_short_header_has_no_version(tag: bytes) -> None:
    whole = header(tag, 1, 5, 0, 114)
    assert {plan_version(whole[:length]) for length in range(28)} == {None}


@given(st.binary(max_size=64).filter(lambda data: data[:4] not in (b"ftrt", b"vtrt")))
def test_other_bytes_have_no_version(data: bytes) -> None:
    assert plan_version(data) is None


def test_replacing_takes_the_place_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with replacing(target) as partial:
        partial.write_text("new")
        assert partial.parent == target.parent  # a rename is atomic inside a file system only
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("began", [False, True])
def test_replacing_leaves_nothing_behind_on_failure(
    error: type[BaseException], began: bool, tmp_path: Path
) -> None:
    def write_and_fail() -> None:
        with replacing(target) as partial:
            if began:
                partial.write_text("half")
            raise error

    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(error):
        write_and_fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_describe_has_profiles_of_dynamic_inputs_only() -> None:
    dynamic = TensorSpec("x", np.dtype(np.float16), (-1, 3))
    fixed = TensorSpec("n", np.dtype(np.int64), (2,))
    profiles = [{"x": ShapeRange((1, 3), (8, 3), (32, 3))}]
    assert describe(fixed, profiles) == {"name": "n", "dtype": "int64", "shape": [2]}
    assert describe(dynamic, profiles) == {
        "name": "x",
        "dtype": "float16",
        "shape": [-1, 3],
        "profiles": [{"min": (1, 3), "opt": (8, 3), "max": (32, 3)}],
    }


def test_sha256_is_of_the_parts_in_a_row() -> None:
    assert passport.sha256(b"ab", memoryview(b"c")) == passport.sha256(b"abc")
    assert passport.sha256(b"abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_what_is_measured_is_kept(tmp_path: Path) -> None:
    plan = tmp_path / "m.engine"
    RECORD.write(plan)
    passport.record(plan, "verify", "GPU A", "TensorRT 11.1", {"passed": False})
    passport.record(plan, "compare", "GPU B", "TensorRT 11.1", {"median": {"1": 0.5}})
    passport.record(plan, "verify", "GPU A", "TensorRT 11.1", {"passed": True})
    known = Passport.of(plan)
    assert known is not None
    assert replace(known, measured={}) == RECORD
    assert known.measured["verify"].pop("date")
    assert known.measured["verify"] == {
        "gpu": "GPU A",
        "tensorrt": "TensorRT 11.1",
        "passed": True,
    }
    assert known.measured["compare"]["median"] == {"1": 0.5}


def test_nothing_is_kept_where_there_is_no_passport(tmp_path: Path) -> None:
    passport.record(tmp_path / "m.engine", "verify", "GPU", "TensorRT", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("gpu", "tensorrt"), [("GPU A", "TensorRT 10.16"), ("GPU B", "TensorRT 11.1")]
)
def test_what_was_measured_elsewhere_is_warned_of(gpu: str, tensorrt: str) -> None:
    found = {"gpu": "GPU A", "tensorrt": "TensorRT 11.1"}
    known = replace(RECORD, measured={"verify": found})
    known.check_measured("GPU A", "TensorRT 11.1")
    RECORD.check_measured(gpu, tensorrt)
    with pytest.warns(UserWarning, match=f"'verify' on GPU A with .* now runs on {gpu} with"):
        known.check_measured(gpu, tensorrt)
