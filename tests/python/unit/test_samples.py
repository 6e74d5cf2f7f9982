"""What may be given as samples, and the calls that come of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import trtfast
from trtfast.errors import InputError
from trtfast.samples import samples_of
from trtfast.spec import ShapeRange, TensorSpec

FLOAT = np.dtype(np.float32)
DYNAMIC = (TensorSpec("x", FLOAT, (-1, 3)),)
PAIR = (TensorSpec("left", FLOAT, (-1, 3)), TensorSpec("right", FLOAT, (-1, 2)))
IMAGE = (TensorSpec("image", FLOAT, (-1, 3, 8, 8)),)
PREPROCESS = trtfast.Preprocess((8, 8))

for_calibration = partial(samples_of, most=8, fill=True)


def rows(count: int, width: int = 3) -> np.ndarray[Any, Any]:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def fixed(size: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", FLOAT, (size, 3)),)


def within(least: int, most: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", FLOAT, (-1, 3), (ShapeRange((least, 3), (most, 3), (most, 3)),)),)


def photo(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)


def sizes(samples: Any, specs: Any = DYNAMIC, **options: Any) -> list[int]:
    return [len(call[specs[0].name]) for call in samples_of(samples, specs, **options)]


# ---- rows and calls -----------------------------------------------------------------------------


def test_rows_are_dealt_out() -> None:
    assert sizes(rows(70)) == [32, 32, 6]
    assert sizes({"x": rows(40)}) == [32, 8]
    assert sizes({"right": rows(40, 2), "left": rows(40)}, PAIR) == [32, 8]
    assert sizes(rows(70), within(1, 30)) == [30, 30, 10]
    assert sizes(rows(70), within(1, 64)) == [32, 32, 6]
    assert sizes(rows(10), most=4) == [4, 4, 2]
    together = np.concatenate([call["x"] for call in samples_of(rows(70), DYNAMIC)])
    np.testing.assert_array_equal(together, rows(70))


def test_items_are_calls_of_their_own() -> None:
    items: list[Any] = [rows(3), {"x": rows(4)}, (rows(5),), rows(6).astype(np.float16), rows(50)]
    assert sizes(items) == sizes(iter(items)) == [3, 4, 5, 6, 50]
    (call,) = samples_of([rows(2).astype(np.float16)], DYNAMIC)
    assert call["x"].dtype == np.float32


def test_items_of_more_rows_than_a_call_takes() -> None:
    assert sizes([rows(20), rows(9)], within(1, 8)) == [8, 8, 4, 8, 1]
    assert sizes([rows(20)], most=8) == [8, 8, 4]


@given(st.integers(1, 40), st.one_of(st.just(-1), st.integers(1, 12)))
def test_calls_have_all_rows_in_order(count: int, size: int) -> None:
    calls = list(for_calibration(rows(count), fixed(size)))
    together = np.concatenate([call["x"] for call in calls])
    np.testing.assert_array_equal(together[:count], rows(count))
    assert (together[count:] == rows(count)[-1]).all()
    if size > 0:
        assert {len(call["x"]) for call in calls} == {size}
        assert len(together) - count < size
    else:
        assert max(len(call["x"]) for call in calls) <= 8
        assert len(together) == count


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(1, 5))
def test_for_a_fixed_batch_rows_are_put_together(counts: list[int], size: int) -> None:
    whole = rows(sum(counts))
    batches = np.split(whole, np.cumsum(counts)[:-1])
    calls = list(for_calibration(batches, fixed(size)))
    assert {len(call["x"]) for call in calls} == {size}
    together = np.concatenate([call["x"] for call in calls])
    np.testing.assert_array_equal(together[: len(whole)], whole)


def test_no_row_is_dropped_or_made_up() -> None:
    assert sizes(rows(70), fixed(7)) == [7] * 10
    assert sizes([rows(4), rows(3), rows(7)], fixed(7)) == [7, 7]
    for samples in (rows(69), [rows(60), rows(9)]):
        with pytest.raises(InputError, match="69 rows, and the engine takes 7 in each call: give"):
            sizes(samples, fixed(7))


def test_inputs_without_rows_in_common_are_left_as_they_are() -> None:
    specs = (TensorSpec("x", FLOAT, (-1, 3)), TensorSpec("size", np.dtype(np.int64), (2,)))
    sample = {"x": rows(70), "size": np.array([1, 2])}
    for samples in (sample, [sample]):
        (call,) = samples_of(samples, specs)
        np.testing.assert_array_equal(call["x"], rows(70))
    scalar = (*DYNAMIC, TensorSpec("scale", FLOAT, ()))
    (call,) = samples_of({"x": rows(70), "scale": np.array(2, np.float32)}, scalar)
    assert call["scale"] == 2


def test_rows_of_other_shapes_share_no_call() -> None:
    specs = (TensorSpec("x", FLOAT, (2, -1)),)
    assert sizes([rows(2, 3), rows(2, 5)], specs) == [2, 2]
    with pytest.raises(InputError, match="takes 2 in each call"):
        sizes([rows(1, 3), rows(1, 5)], specs)


# ---- items --------------------------------------------------------------------------------------


def test_mapping_by_name() -> None:
    (call,) = samples_of({"right": rows(4, 2), "left": rows(4)}, PAIR)
    np.testing.assert_array_equal(call["left"], rows(4))
    np.testing.assert_array_equal(call["right"], rows(4, 2))
    assert list(call) == ["left", "right"]


def test_items_in_the_order_of_the_inputs() -> None:
    calls = list(samples_of([(rows(2), rows(2, 2)), [rows(1), rows(1, 2)]], PAIR))
    assert [len(call["left"]) for call in calls] == [2, 1]
    np.testing.assert_array_equal(calls[0]["right"], rows(2, 2))


def test_loader_with_labels() -> None:
    data = TensorDataset(torch.from_numpy(rows(10)), torch.arange(10))
    calls = list(samples_of(DataLoader(data, batch_size=4), DYNAMIC))
    assert [len(call["x"]) for call in calls] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([call["x"] for call in calls]), rows(10))


def test_tensors() -> None:
    (call,) = samples_of(torch.ones(2, 3, requires_grad=True), DYNAMIC)
    assert type(call["x"]) is np.ndarray
    (call,) = samples_of([{"x": torch.ones(2, 3, dtype=torch.bfloat16)}], DYNAMIC)
    assert call["x"].dtype == np.float32


# ---- files --------------------------------------------------------------------------------------


def test_files_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", rows(70))
    np.savez(tmp_path / "two.npz", left=rows(2), right=rows(2, 2))
    assert sizes(tmp_path / "one.npy") == sizes(str(tmp_path / "one.npy")) == [32, 32, 6]
    assert sizes([tmp_path / "one.npy"]) == [70]
    (call,) = samples_of(tmp_path / "two.npz", PAIR)
    np.testing.assert_array_equal(call["right"], rows(2, 2))
    (tmp_path / "one.npy").write_text("none")
    with pytest.raises(InputError, match=r"one\.npy cannot be read as arrays"):
        sizes(tmp_path / "one.npy")


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), ("c", 3)):
        np.save(tmp_path / f"{name}.npy", np.full((1, 3), value, np.float32))
    (tmp_path / "notes.txt").write_text("not a sample")
    (call,) = samples_of(tmp_path, DYNAMIC)
    assert call["x"][:, 0].tolist() == [1, 2, 3]
    assert sizes(tmp_path, most=2) == [2, 1]
    assert sizes([tmp_path, rows(1), str(tmp_path)]) == [3, 1, 3]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(2))
    np.save(tmp_path / "b.npy", rows(2, 4))
    with pytest.raises(InputError, match=r"^\S+/b\.npy: input 'x' has shape \(2, 4\)"):
        sizes(tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no samples; expected images, or \.npy"):
        sizes(tmp_path)


@pytest.mark.parametrize("name", ["none.npy", "none.png", "none"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no (such )?file"):
        sizes(tmp_path / name, IMAGE, preprocess=PREPROCESS)


# ---- images -------------------------------------------------------------------------------------


def test_folder_of_images(tmp_path: Path) -> None:
    for seed in range(3):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), photo(seed)[..., ::-1])
    (call,) = samples_of(tmp_path, IMAGE, PREPROCESS)
    np.testing.assert_array_equal(call["image"], PREPROCESS([photo(seed) for seed in range(3)]))
    (call,) = samples_of(tmp_path / "1.png", IMAGE, PREPROCESS)
    np.testing.assert_array_equal(call["image"], PREPROCESS(photo(1)))
    three = (TensorSpec("image", FLOAT, (3, 3, 8, 8)),)
    assert sizes(tmp_path, three, preprocess=PREPROCESS) == [3]


def test_arrays_of_bytes_are_images() -> None:
    calls = list(samples_of([photo(0), np.stack([photo(1), photo(2)])], IMAGE, PREPROCESS))
    np.testing.assert_array_equal(calls[0]["image"], PREPROCESS(photo(0)))
    np.testing.assert_array_equal(calls[1]["image"][1:], PREPROCESS(photo(2)))
    (call,) = samples_of(torch.from_numpy(photo(0)), IMAGE, PREPROCESS)
    np.testing.assert_array_equal(call["image"], PREPROCESS(photo(0)))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_images_for_a_model_in_half_precision(dtype: Any) -> None:
    (call,) = samples_of(
        [photo(0)], (TensorSpec("image", np.dtype(dtype), (-1, 3, 8, 8)),), PREPROCESS
    )
    np.testing.assert_array_equal(call["image"], PREPROCESS(photo(0)).astype(dtype))


def test_bytes_for_a_model_that_takes_bytes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), photo(0)[..., ::-1])
    pixels = trtfast.Preprocess((8, 8), normalization="none", layout="NHWC")
    specs = (TensorSpec("x", np.dtype(np.uint8), (-1, 8, 8, 3)),)
    (from_file,) = samples_of(tmp_path, specs, pixels)
    (as_it_is,) = samples_of(from_file["x"], specs, pixels)
    assert from_file["x"].dtype == np.uint8
    np.testing.assert_array_equal(as_it_is["x"], from_file["x"])


def test_bytes_that_are_no_image() -> None:
    (call,) = samples_of(rows(2).astype(np.uint8), DYNAMIC)
    np.testing.assert_array_equal(call["x"], rows(2))


@pytest.mark.parametrize("samples", [[photo(0)], photo(0), photo(0)[None]])
def test_images_need_preprocessing(samples: Any) -> None:
    with pytest.raises(InputError, match="give preprocess="):
        sizes(samples, IMAGE)


def test_preprocessing_of_another_size() -> None:
    other = trtfast.Preprocess((9, 9))
    with pytest.raises(InputError, match=r"^sample 0: the preprocessing gives NCHW of shape \(1"):
        sizes([photo(0)], IMAGE, preprocess=other)


# ---- what is none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ([], "there are no samples; expected at least one"),
        (rows(0), "there are no samples"),
        (3, "samples is int; expected arrays, an iterable of them"),
        (object(), "samples is object; expected arrays, an iterable of them"),
        ([rows(2), rows(2, 4)], r"^sample 1: input 'x' has shape \(2, 4\)"),
        ([rows(2), rows(2)[0]], r"^sample 1: input 'x' has rank 1"),
        ({"y": rows(2)}, "unknown inputs 'y' and missing inputs 'x'"),
        ([{"x": rows(2), "labels": rows(2)}], "^sample 0: unknown inputs 'labels'"),
        ([rows(2), "text"], "^sample 1: text: there is no such file"),
        ([rows(2), {"x": "text"}], "^sample 1: input 'x' is str; expected an array"),
        ([rows(2), 3], "^sample 1: it is int; expected an array, a path"),
        ([()], "^sample 0: it is tuple; expected an array"),
        (rows(2).astype(np.float64), "input 'x' is float64; expected float32"),
    ],
)
def test_wrong_samples_are_named(samples: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        sizes(samples)


@pytest.mark.parametrize("item", [3, (rows(1),)])
def test_item_that_is_no_sample(item: Any) -> None:
    with pytest.raises(InputError, match="or a sequence of arrays for left, right"):
        sizes([item], PAIR)


def test_rows_outside_all_profiles_are_named() -> None:
    with pytest.raises(InputError, match=r"^sample 1: input shapes 'x' .* in no optimisation prof"):
        sizes([rows(4), rows(3)], within(4, 8))
