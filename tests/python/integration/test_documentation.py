"""What the documentation shows is true: its code runs, its commands exist, its pages are found."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer

import documentation as docs
import trtfast
from trtfast import _core, errors
from trtfast.cli.app import app

HAS_GPU = bool(_core.devices()[0])
COMMANDS = [
    pytest.param(words, id=f"{docs.page_name(page)}:{line}")
    for page in docs.PAGES
    for line, words in docs.commands_of(page)
]


def kinds_of(page: Path) -> str:
    counts = Counter(fence.info for fence in docs.code_of(page))
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


# The name of each test tells how many fences of each kind its page has.
WITH_CODE = [
    pytest.param(page, id=f"{docs.page_name(page)}: {kinds_of(page)}")
    for page in docs.PAGES
    if docs.code_of(page)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documentation")
    docs.make_files(folder)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the page's own, in which its code runs."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", WITH_CODE)
def test_code_runs(page: Path, folder: Path) -> None:
    names = docs.at_hand()
    missing: set[str] = set()  # what code that did not run would have named
    for fence in docs.code_of(page):
        if fence.info == "console":
            if not HAS_GPU:  # where a model runs on that, it tells other things
                docs.check_console(fence, folder)
            continue
        check_calls(fence)
        if fence.info == "python":
            fence.run(names)
            continue
        if fence.info == "python gpu" and not HAS_GPU:
            run_until_a_gpu_is_asked_for(fence, names, missing)
        missing |= stored(fence)


def run_until_a_gpu_is_asked_for(
    fence: docs.Fence, names: dict[str, Any], missing: set[str]
) -> None:
    try:
        fence.run(names)
    except trtfast.UnsupportedDeviceError:
        return
    except NameError as error:
        if error.name in missing:
            return
        raise
    except RuntimeError as error:
        if "NVIDIA driver" in str(error):  # PyTorch's
            return
        raise
    pytest.fail(f"{fence.page}:{fence.line} needs no GPU: write python, without gpu")


def stored(fence: docs.Fence) -> set[str]:
    nodes = ast.walk(ast.parse(fence.text))
    return {node.id for node in nodes if isinstance(node, ast.Name) and type(node.ctx) is ast.Store}


def check_calls(fence: docs.Fence) -> None:
    """Compare with trtfast all names that are taken of it, and how its functions are called."""
    nodes = list(ast.walk(ast.parse(fence.text)))
    for node in nodes:
        if isinstance(node, ast.Import):  # a module is the package's only once it is imported
            for alias in node.names:
                if alias.name.startswith("trtfast."):
                    importlib.import_module(alias.name)
    for node in nodes:
        if isinstance(node, ast.Call) and (function := resolved(node.func)) is not None:
            accepted = inspect.signature(function).parameters
            if any(each.kind is each.VAR_KEYWORD for each in accepted.values()):
                continue
            given = {keyword.arg for keyword in node.keywords}
            assert given <= set(accepted), f"{fence.page}: {ast.unparse(node)}"
        elif isinstance(node, ast.Attribute):
            resolved(node)


def resolved(node: ast.expr) -> Any:
    """Return what ``trtfast.x`` or ``engine.x`` is; None for anything else."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return None
    owner = {"trtfast": trtfast, "engine": trtfast.Engine}.get(node.value.id)
    return None if owner is None else getattr(owner, node.attr)


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_exist(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    name, *options = words
    with group.make_context("trtfast", [name]) as context:
        command = group.get_command(context, name)
        assert command is not None, name
        command.make_context(name, options, parent=context)  # reads them, and runs nothing


@pytest.mark.parametrize("page", docs.PAGES, ids=docs.page_name)
def test_fences_are_of_a_known_kind(page: Path) -> None:
    for fence in docs.fences(page):
        is_known = fence.info in (*docs.KINDS, *docs.OTHERS) or fence.info.startswith("{")
        assert is_known, f"{page}:{fence.line} is {fence.info!r}"


RECORDED = """$ trtfast a "b c"
TensorRT, .venv/lib/site-packages/x.so: 1.5.0.114
of sha256 dfc677a1f556…, 2026-11-26 17:45
│ 1     │ it │ 3.30 ms │ 12     │ 1.0           │
$ trtfast d
"""


def test_recorded_commands_are_taken_apart() -> None:
    fence = docs.Fence(docs.ROOT / "README.md", 1, "console", RECORDED)
    (first, shown), (second, nothing) = docs.recorded(fence)
    assert (first, second, nothing) == (["trtfast", "a", "b c"], ["trtfast", "d"], "")
    assert docs.settled(shown) == (
        "TensorRT, PATH: #\nof sha256 HASH, DATE\n│ 1 │ it │ # ms │ # │ # │"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("espresso, confidence: 69.92 %", "cup, confidence: 69.92 %"),
        ("49 Conv", "48 Conv"),
        ("image:8x3x224x224", "image:1x3x224x224"),
        ("[-1, 1000]", "[-1, 10]"),
        ("5 rows", "4 rows"),
        ("│ 1     │ it │", "│ 8     │ it │"),
    ],
)
def test_what_does_not_vary_is_compared(before: str, after: str) -> None:
    assert docs.settled(before) != docs.settled(after)


def test_commands_and_code_are_found() -> None:
    kinds = Counter(fence.info for page in docs.PAGES for fence in docs.code_of(page))
    assert sorted(kinds) == sorted(docs.KINDS)
    assert {words.values[0][0] for words in COMMANDS} >= {"build", "demo", "doctor", "verify"}


def test_each_page_is_in_the_navigation() -> None:
    index = docs.ROOT / "docs" / "index.md"
    trees = (fence.text for fence in docs.fences(index) if fence.info == "{toctree}")
    listed = [line for tree in trees for line in tree.split("\n") if line and line[0] != ":"]
    pages = {
        page.relative_to(index.parent)
        for page in (*docs.PAGES, docs.GENERATED)
        if page.is_relative_to(index.parent)
    }
    names = {str(page.with_suffix("")) for page in pages} - {"index"}
    assert len(listed) == len(set(listed))
    assert set(listed) == names


def test_each_public_name_is_in_the_reference() -> None:
    text = (docs.ROOT / "docs" / "reference" / "api.md").read_text()
    listed = re.findall(r"^\.\. auto\w+:: trtfast\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(set(trtfast.__all__) - {"__version__"})
    assert "trtfast.__version__" in text


def test_each_error_is_told_of() -> None:
    text = (docs.ROOT / "docs" / "troubleshooting.md").read_text()
    told = re.findall(r"^## (\w+Error)$", text, re.MULTILINE)
    assert sorted(told) == sorted(set(errors.__all__) - {"Error"})
