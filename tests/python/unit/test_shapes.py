from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtfast.errors import InputError
from trtfast.shapes import buckets_for, parse, profiles_for
from trtfast.spec import ShapeRange, TensorSpec

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1).filter(
    lambda name: "," not in name
)
SHAPES = st.dictionaries(NAMES, st.lists(st.integers(0, 2**31), min_size=1).map(tuple))


def spec(name: str, *shape: int, dtype: Any = np.float32) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("", {}),
        ("input:1x3x224x224", {"input": (1, 3, 224, 224)}),
        ("input:[1,3,224,224]", {"input": (1, 3, 224, 224)}),
        ("input:[1, 3, 224, 224]", {"input": (1, 3, 224, 224)}),
        ("image:8x3,mask:[1,77],n:5", {"image": (8, 3), "mask": (1, 77), "n": (5,)}),
        ("a:[],b:2", {"a": (), "b": (2,)}),
        ("scope/input:0:1x2", {"scope/input:0": (1, 2)}),
    ],
)
def test_both_forms_are_read(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    assert parse(text) == shapes


@given(SHAPES)
def test_what_is_written_is_read(shapes: dict[str, tuple[int, ...]]) -> None:
    crossed = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
    bracketed = ",".join(f"{name}:{list(shape)}" for name, shape in shapes.items())
    assert parse(crossed) == parse(bracketed) == shapes


@pytest.mark.parametrize(
    "text",
    [
        *("1x3x224x224", "input", "input:", "input:x", "input:1x", "input:-1x3", "input:1.5x2"),
        *("input:[1,3", "input:1,3]", ":1x3", "input:axb", "a:1x2,b", "a:1,,b:2"),
        *("a:[1,,3]", "a:[,1]", "a:1x2,", "a:1x2,a:3x4", "a:" + "9" * 5000),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write input:1x3x224x224"):
        parse(text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        shapes = parse(text)
    except InputError:
        return
    assert all(isinstance(size, int) and size >= 0 for shape in shapes.values() for size in shape)


def test_fixed_inputs_need_no_profile() -> None:
    assert profiles_for([spec("x", 1, 3)]) == []


def test_dynamic_batch_gets_one_request_and_a_large_batch() -> None:
    (profile,) = profiles_for([spec("image", -1, 3, 224, 224), spec("scale", 1)])
    assert profile == {
        "image": ShapeRange((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224)),
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"opt_shapes": (4, 77)}, ((1, 1), (4, 77), (4, 77))),
        ({"max_shapes": (4, 77)}, ((1, 1), (4, 77), (4, 77))),
        ({"min_shapes": (4, 77)}, ((4, 77), (4, 77), (4, 77))),
        ({"min_shapes": (2, 7), "max_shapes": (4, 77)}, ((2, 7), (4, 77), (4, 77))),
        ({"opt_shapes": (2, 7), "max_shapes": (4, 77)}, ((1, 1), (2, 7), (4, 77))),
        (
            {"min_shapes": [1, 2], "opt_shapes": [3, 4], "max_shapes": [5, 6]},
            ((1, 2), (3, 4), (5, 6)),
        ),
    ],
)
def test_bounds_follow_from_those_given(given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    shapes = {bound: {"tokens": shape} for bound, shape in given.items()}
    (profile,) = profiles_for([spec("tokens", -1, -1)], **shapes)
    assert profile == {"tokens": ShapeRange(*expected)}


def test_lowest_shape_keeps_fixed_sizes() -> None:
    (profile,) = profiles_for([spec("x", -1, 3, -1)], opt_shapes={"x": (4, 3, 64)})
    assert profile["x"].min == (1, 3, 1)


def test_one_input_given_and_another_by_default() -> None:
    inputs = [spec("a", -1, 4), spec("b", -1, -1)]
    (profile,) = profiles_for(inputs, opt_shapes={"b": (2, 5)})
    assert profile["a"] == ShapeRange((1, 4), (8, 4), (32, 4))
    assert profile["b"] == ShapeRange((1, 1), (2, 5), (2, 5))


def test_values_of_a_shape_tensor() -> None:
    """Its shape is fixed, so what is given is its values; there is no lowest to fall back on."""
    inputs = [spec("size", 2, dtype=np.int64)]
    (profile,) = profiles_for(inputs, max_shapes={"size": (8, 6)})
    assert profile["size"] == ShapeRange((8, 6), (8, 6), (8, 6))
    (profile,) = profiles_for(inputs, min_shapes={"size": (1, 6)}, max_shapes={"size": (8, 6)})
    assert profile["size"] == ShapeRange((1, 6), (8, 6), (8, 6))


@pytest.mark.parametrize("shape", [(-1, -1), (1, -1), (-1, 3, -1, -1)])
def test_dynamic_sizes_beyond_the_batch_need_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"'x' has dynamic dimensions.*opt_shapes=\{'x': \(.*8"):
        profiles_for([spec("x", *shape)])


@pytest.mark.parametrize("bound", ["min_shapes", "opt_shapes", "max_shapes"])
def test_unknown_name_is_refused(bound: str) -> None:
    with pytest.raises(InputError, match=r"given for 'imgae', but the inputs are \['image'\]"):
        profiles_for([spec("image", -1, 3)], **{bound: {"imgae": (1, 3)}})


@pytest.mark.parametrize("shape", [4, (4.5, 8), (4, "8"), (None, 8), "4x8"])
def test_what_is_no_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InputError, match=r"'x': .* is not a shape; expected integers"):
        profiles_for([spec("x", -1, 8)], opt_shapes={"x": shape})


def test_sizes_of_numpy_are_integers() -> None:
    (profile,) = profiles_for([spec("x", -1, 8)], opt_shapes={"x": np.array([4, 8])})  # type: ignore[dict-item]
    assert profile["x"] == ShapeRange((1, 8), (4, 8), (4, 8))
    assert all(type(size) is int for size in profile["x"].opt)


@given(st.lists(st.integers(1, 2**31)))
def test_a_bucket_is_a_profile_of_one_shape(batches: list[int]) -> None:
    inputs = [spec("x", -1, 3, 8), spec("scale", 1)]
    profiles = buckets_for(inputs, batches)
    assert [profile.keys() for profile in profiles] == [{"x"}] * len(batches)
    for profile, batch in zip(profiles, batches, strict=True):
        assert profile["x"] == ShapeRange(*[(batch, 3, 8)] * 3)
    assert profiles == buckets_for(inputs, [(batch, 3, 8) for batch in batches])
    assert profiles == buckets_for(inputs, [{"x": [batch, 3, 8]} for batch in batches])


def test_a_batch_size_is_that_of_all_dynamic_inputs() -> None:
    (profile,) = buckets_for([spec("a", -1, 2), spec("b", -1, 5)], [4])
    assert profile == {"a": ShapeRange(*[(4, 2)] * 3), "b": ShapeRange(*[(4, 5)] * 3)}


@pytest.mark.parametrize(
    ("inputs", "bucket"),
    [
        ([spec("x", -1, -1)], 4),
        ([spec("x", 3, -1)], 4),
        ([spec("a", -1, 2), spec("b", -1, 2)], (4, 2)),
        ([spec("a", -1, 2), spec("b", -1, 2)], {"a": (4, 2)}),
        ([spec("x", -1, 2)], {"y": (4, 2)}),
        ([spec("x", 3, 2)], (3, 2)),
    ],
)
def test_a_bucket_that_leaves_a_shape_open_is_refused(inputs: Any, bucket: Any) -> None:
    with pytest.raises(InputError, match=r"does not say the shapes of the dynamic inputs"):
        buckets_for(inputs, [bucket])


def test_what_is_no_bucket_is_refused() -> None:
    with pytest.raises(InputError, match=r"'x': .* is not a shape; expected integers"):
        buckets_for([spec("x", -1, 8)], [(4.5, 8)])  # type: ignore[list-item]


def test_shapes_without_names_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected them by name, as \{'x': \(8, 3\)\}"):
        profiles_for([spec("x", -1, 3)], max_shapes=(4, 3))  # type: ignore[arg-type]
