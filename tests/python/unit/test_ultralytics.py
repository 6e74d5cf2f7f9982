"""Engines of Ultralytics: what is read of the description before the plan."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import plans
from trtfast import ultralytics
from trtfast.errors import EngineIncompatibleError
from trtfast.preprocess import Preprocess

PLAN = b"ftrt" + bytes(20) + bytes([10, 13, 3, 9]) + bytes(range(100))
METADATA: dict[str, Any] = {
    "description": "Ultralytics YOLO11n model trained on coco.yaml",
    "author": "Ultralytics",
    "stride": 32,
    "task": "detect",
    "batch": 1,
    "imgsz": [640, 480],
    "names": {"0": "person", "1": "bicycle"},
    "args": {"half": True},
    "channels": 3,
}
WHOLE = plans.of_ultralytics(PLAN, METADATA)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
others = st.dictionaries(texts.map("x-{}".format), values, max_size=5)
known = st.fixed_dictionaries(
    {},
    optional={
        "description": texts,
        "task": texts,
        "batch": st.integers(1, 1000),
        "channels": st.integers(1, 4),
        "imgsz": st.lists(st.integers(1, 4096), min_size=2, max_size=2),
        "names": st.lists(texts, min_size=1, max_size=5).map(
            lambda names: {str(index): name for index, name in enumerate(names)}
        ),
    },
)


@given(others=others, known=known, plan=st.binary(max_size=100).map(lambda tail: PLAN + tail))
def test_what_was_written_is_read(
    others: dict[str, Any], known: dict[str, Any], plan: bytes
) -> None:
    data = plans.of_ultralytics(plan, others | known)
    found, metadata = ultralytics.split(data, "x.engine")
    assert metadata == others | known
    assert found == plan
    assert isinstance(found, memoryview)
    assert found.obj is data  # not copied
    assert ultralytics.classes_of(metadata) == (
        tuple(known["names"].values()) if "names" in known else None
    )


@given(plan=st.binary(max_size=100).map(lambda tail: PLAN + tail))
def test_a_plan_of_its_own_is_given_as_it_is(plan: bytes) -> None:
    assert ultralytics.split(plan, "x.engine") == (plan, None)


@given(data=st.binary(max_size=8).flatmap(lambda head: st.binary(max_size=100).map(head.__add__)))
@example(data=b"")
@example(data=b"\xff\xff\xff\xff{")
@example(data=b"\x02\x00\x00\x00{}")
@example(data=(50_000).to_bytes(4, "little") + b'{"a":' + b"[" * 49_995)  # too deep to read
def test_no_bytes_make_another_error(data: bytes) -> None:
    if data[4:5] != b"{":  # neither a plan nor a description: for the engine to refuse
        assert ultralytics.split(data, "x.engine") == (data, None)
    else:
        with pytest.raises(EngineIncompatibleError, match=r"(?s)^x\.engine .*export it again$"):
            ultralytics.split(data, "x.engine")


def test_a_file_that_is_cut_short_anywhere_is_told() -> None:
    start = len(WHOLE) - len(PLAN)
    for length in range(5, start):
        with pytest.raises(EngineIncompatibleError, match=rf"and {length - 4} follow"):
            ultralytics.split(WHOLE[:length], "x.engine")
    for length in range(start, start + 28):
        with pytest.raises(EngineIncompatibleError, match=r"x\.engine.*no TensorRT plan"):
            ultralytics.split(WHOLE[:length], "x.engine")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("description", 3, "description is 3; expected a text"),
        ("task", None, "task is None; expected a text"),
        ("batch", 0, "batch is 0; expected a whole number above 0"),
        ("batch", True, "batch is True"),
        ("channels", 3.0, "channels is 3.0"),
        ("imgsz", 640, "imgsz is 640; expected height and width"),
        ("imgsz", [640], r"imgsz is \[640\]"),
        ("imgsz", [640, -1], r"imgsz is \[640, -1\]"),
        ("names", "/etc/passwd", "names is '/etc/passwd'; expected a name for each index"),
        ("names", {}, "names: .*at least one name"),
        ("names", {"1": "bicycle"}, "names: .*each index from 0 to 0"),
        ("names", {"0": 7}, "names: .*each a string"),
    ],
)
def test_a_value_that_cannot_be_is_told(key: str, value: Any, message: str) -> None:
    data = plans.of_ultralytics(PLAN, METADATA | {key: value})
    with pytest.raises(EngineIncompatibleError, match=message):
        ultralytics.split(data, "x.engine")


@pytest.mark.parametrize("text", [b"{,}   ", b"{\xff\xfe}  ", b'{"a": 1'])
def test_what_is_no_json_is_told(text: bytes) -> None:
    data = len(text).to_bytes(4, "little") + text + PLAN
    with pytest.raises(EngineIncompatibleError, match=r"x\.engine begins with a description as"):
        ultralytics.split(data, "x.engine")


def test_a_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    path.write_bytes(WHOLE)
    plan, metadata = ultralytics.opened(path)
    assert metadata == json.loads(json.dumps(METADATA))
    assert isinstance(plan, memoryview)
    assert isinstance(plan.obj, mmap.mmap)
    assert plan == PLAN


ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def letterbox(height: int, width: int) -> Preprocess:
    size = (height, width)
    return Preprocess(size, ZERO, ONE, resize="longest", resize_to=size, pad="center", fill=114)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, letterbox(640, 480)),
        ({"task": "obb", "imgsz": [320, 320]}, letterbox(320, 320)),
        (
            {"task": "classify", "imgsz": [224, 224]},
            Preprocess((224, 224), ZERO, ONE, resize="shortest", interpolation="pil_bilinear"),
        ),
        ({"task": "classify"}, None),  # of another height than width
        ({"task": "regress"}, None),
        ({"channels": 1}, None),
    ],
)
def test_images_are_prepared_as_the_task_wants(
    changed: dict[str, Any], expected: Preprocess | None
) -> None:
    assert ultralytics.preprocess_of(METADATA | changed) == expected
    assert ultralytics.preprocess_of({"task": "detect"}) is None
