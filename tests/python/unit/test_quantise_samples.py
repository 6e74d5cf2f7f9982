"""What may be given to calibrate with, and the runs that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

import trtfast
from trtfast.errors import InputError
from trtfast.precision.samples import runs_of
from trtfast.spec import TensorSpec

FLOAT = np.dtype(np.float32)
DYNAMIC = (TensorSpec("x", FLOAT, (-1, 3)),)
PAIR = (TensorSpec("left", FLOAT, (-1, 3)), TensorSpec("right", FLOAT, (-1, 2)))
IMAGE = (TensorSpec("image", FLOAT, (-1, 3, 8, 8)),)
PREPROCESS = trtfast.Preprocess((8, 8))


def rows(count: int, width: int = 3) -> np.ndarray[Any, Any]:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def fixed(size: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", FLOAT, (size, 3)),)


def photo(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)


@given(st.integers(1, 40), st.one_of(st.just(-1), st.integers(1, 12)))
def test_runs_have_all_rows_in_order(count: int, size: int) -> None:
    runs = list(runs_of(rows(count), fixed(size)))
    together = np.concatenate([run["x"] for run in runs])
    np.testing.assert_array_equal(together[:count], rows(count))
    assert (together[count:] == rows(count)[-1]).all()
    if size > 0:
        assert {len(run["x"]) for run in runs} == {size}
        assert len(together) - count < size
    else:
        assert max(len(run["x"]) for run in runs) <= 8
        assert len(together) == count


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(1, 5))
def test_small_batches_are_put_together(counts: list[int], size: int) -> None:
    whole = rows(sum(counts))
    batches = np.split(whole, np.cumsum(counts)[:-1])
    runs = list(runs_of(batches, fixed(size)))
    assert {len(run["x"]) for run in runs} == {size}
    together = np.concatenate([run["x"] for run in runs])
    np.testing.assert_array_equal(together[: len(whole)], whole)


def test_mapping_by_name() -> None:
    (run,) = runs_of({"right": rows(4, 2), "left": rows(4)}, PAIR)
    np.testing.assert_array_equal(run["left"], rows(4))
    np.testing.assert_array_equal(run["right"], rows(4, 2))


def test_items_in_the_order_of_the_inputs() -> None:
    runs = list(runs_of([(rows(2), rows(2, 2)), [rows(1), rows(1, 2)]], PAIR))
    assert [len(run["left"]) for run in runs] == [2, 1]
    np.testing.assert_array_equal(runs[0]["right"], rows(2, 2))


def test_inputs_without_rows_in_common_are_left_as_they_are() -> None:
    inputs = (TensorSpec("x", FLOAT, (-1, 3)), TensorSpec("size", np.dtype(np.int64), (2,)))
    sample = {"x": rows(20), "size": np.array([1, 2])}
    (run,) = runs_of([sample], inputs)
    np.testing.assert_array_equal(run["x"], rows(20))


def test_loader_with_labels() -> None:
    data = TensorDataset(torch.from_numpy(rows(10)), torch.arange(10))
    runs = list(runs_of(DataLoader(data, batch_size=4), DYNAMIC))
    assert [len(run["x"]) for run in runs] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([run["x"] for run in runs]), rows(10))


def test_tensor_that_asks_for_gradients() -> None:
    (run,) = runs_of(torch.ones(2, 3, requires_grad=True), DYNAMIC)
    assert type(run["x"]) is np.ndarray


def test_files_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", rows(3))
    np.savez(tmp_path / "two.npz", left=rows(2), right=rows(2, 2))
    (run,) = runs_of(str(tmp_path / "one.npy"), DYNAMIC)
    np.testing.assert_array_equal(run["x"], rows(3))
    (run,) = runs_of(tmp_path / "two.npz", PAIR)
    np.testing.assert_array_equal(run["right"], rows(2, 2))


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b", 2), ("a", 1), ("c", 3)):
        np.save(tmp_path / f"{name}.npy", np.full((1, 3), value, np.float32))
    (tmp_path / "notes.txt").write_text("not a sample")
    assert [run["x"][0, 0] for run in runs_of(tmp_path, DYNAMIC)] == [1, 2, 3]


def test_folder_of_images(tmp_path: Path) -> None:
    for seed in range(3):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), photo(seed)[..., ::-1])
    runs = list(runs_of(tmp_path, IMAGE, PREPROCESS))
    assert len(runs) == 3
    for seed, run in enumerate(runs):
        np.testing.assert_array_equal(run["image"], PREPROCESS(photo(seed)))


def test_arrays_of_bytes_are_images() -> None:
    runs = list(runs_of([photo(0), np.stack([photo(1), photo(2)])], IMAGE, PREPROCESS))
    np.testing.assert_array_equal(runs[0]["image"], PREPROCESS(photo(0)))
    np.testing.assert_array_equal(runs[1]["image"][1:], PREPROCESS(photo(2)))


def test_bytes_for_a_model_that_takes_bytes() -> None:
    inputs = (TensorSpec("x", np.dtype(np.uint8), (-1, 3)),)
    (run,) = runs_of(rows(2).astype(np.uint8), inputs)
    assert run["x"].dtype == np.uint8


@pytest.mark.parametrize("samples", [[photo(0)], photo(0)])
def test_images_need_preprocessing(samples: Any) -> None:
    with pytest.raises(InputError, match="give preprocess="):
        list(runs_of(samples, IMAGE))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no samples; expected images, or \.npy"):
        list(runs_of(tmp_path, IMAGE, PREPROCESS))


@pytest.mark.parametrize("name", ["none.npy", "none.png"])
def test_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name):
        list(runs_of(tmp_path / name, IMAGE, PREPROCESS))


@pytest.mark.parametrize("samples", [3, object()])
def test_what_is_no_sample(samples: Any) -> None:
    with pytest.raises(InputError, match="expected arrays, an iterable of them"):
        list(runs_of(samples, DYNAMIC))


@pytest.mark.parametrize("item", [3, (rows(1),)])
def test_item_that_is_no_sample(item: Any) -> None:
    with pytest.raises(InputError, match="or a sequence of arrays for left, right"):
        list(runs_of([item], PAIR))
