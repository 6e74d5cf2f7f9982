"""The code of the documentation that needs an engine, whatever its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import documentation as docs
import trtfast
from fake_gpu import FakeGpu, answer, build

MODEL = b"input x float32 -1,10\noutput y float32 -1,10\nop twice y = affine 2 1 x\n"
PAGES = [
    page
    for page in docs.PAGES
    if any(fence.info == "python engine" for fence in docs.code_of(page))
]


@pytest.fixture
def folder(gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a classifier of ten classes, in buckets of 1, 8 and 32 and a range."""
    rows = [(1, 1, 1), (8, 8, 8), (32, 32, 32), (1, 4, 200)]
    plan = build(
        gpu.libraries["11.1"], MODEL, *(tuple((n, docs.CLASSES) for n in each) for each in rows)
    )
    (tmp_path / "model.engine").write_bytes(plan)
    docs.header_of_others(tmp_path / "model.engine", tmp_path / "ultralytics.engine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=docs.page_name)
def test_code_runs(page: Path, folder: Path) -> None:
    names = docs.at_hand() | {"images": np.eye(8, docs.CLASSES, dtype=np.float32)}
    for fence in docs.code_of(page):
        if fence.info == "python engine":
            fence.run(names)
    if "logits" in names:  # of some of the images, or of all, one by one or together
        logits = np.concatenate([np.atleast_2d(each) for each in names["logits"]])
        np.testing.assert_array_equal(logits, answer(names["images"][: len(logits)]))
    for each in names.values():  # what a page leaves open
        if isinstance(each, trtfast.Engine):
            each.close()
