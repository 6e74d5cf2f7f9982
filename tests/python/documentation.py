"""The code that the documentation shows, and what a reader has at hand where it begins.

A fence says what its code needs:

- ``python``: no GPU. It runs everywhere, and where ``text output`` follows, that is what it prints.
- ``python engine``: an engine, of any model. It runs on the stand-in; see ``tests/python/standin``.
- ``python gpu``: real engines. It runs where a GPU is. Elsewhere it runs until it asks for one.
- ``console``: commands, each after a dollar sign, and what they print where no GPU is. They run
  again there, in the page's order, and print the same; but for what :func:`settled` leaves out.

The fences of a page run from top to bottom and share their names, which begin with those of
:func:`at_hand`. The folder that they run in has the files of :func:`make_files`.
"""

from __future__ import annotations

import ast
import asyncio
import difflib
import inspect
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from markdown_it import MarkdownIt

import plans
import trtfast
from command import PROGRAM, environment

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "docs" / "reference" / "commands.md"
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - {GENERATED})
KINDS = ("python", "python engine", "python gpu", "console")
OTHERS = ("", "sh", "text", "text output", "dockerfile")
CLASSES = 10


@dataclass(frozen=True)
class Fence:
    """A fence of a page: the words after its backticks, its text, and the line of these."""

    page: Path
    line: int
    info: str
    text: str
    output: str | None = None

    def compile(self) -> Any:
        """Compile it as the page's lines, so that a traceback shows where they stand."""
        source = "\n" * self.line + self.text
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile(source, str(self.page), "exec", flags, dont_inherit=True)

    def run(self, names: dict[str, Any]) -> None:
        """Run it, and compare what it prints with what the page says."""
        code = self.compile()
        printed = io.StringIO()
        with redirect_stdout(printed):
            if code.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(code, names))
            else:
                exec(code, names)
        if self.output is not None:
            assert printed.getvalue() == self.output, f"{self.page}:{self.line}"


def fences(page: Path) -> list[Fence]:
    """Return the fences of a page, in order."""
    tokens = [
        token
        for token in MarkdownIt().parse(page.read_text())
        if token.type == "fence" and token.map is not None
    ]
    found = []
    for token, following in zip_longest(tokens, tokens[1:]):
        assert token.map is not None
        shown = following is not None and following.info == "text output"
        output = following.content if shown and following is not None else None
        found.append(Fence(page, token.map[0] + 1, token.info.strip(), token.content, output))
    return found


def code_of(page: Path) -> list[Fence]:
    return [fence for fence in fences(page) if fence.info in KINDS]


def check_console(fence: Fence, folder: Path) -> None:
    """Run a fence's commands again, and compare what they print with what it shows."""
    # One thread, for else PyTorch's wait for each other where other tests run.
    variables = {"COLUMNS": "120", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    surroundings = {**environment(folder), **variables}
    surroundings.pop("TRTFAST_TENSORRT_PATH", None)
    for words, shown in recorded(fence):
        assert words[0] == "trtfast"
        done = subprocess.run(
            [PROGRAM, *words[1:]],
            cwd=folder,
            env=surroundings,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode in (0, 1), done.stdout
        texts = (settled(text).splitlines() for text in (shown, done.stdout))
        change = "\n".join(difflib.unified_diff(*texts, "the page", "now", lineterm=""))
        assert not change, f"{fence.page}: {shlex.join(words)}\n{change}"


def recorded(fence: Fence) -> list[tuple[list[str], str]]:
    """Return the words of each command of a fence, and what it shows of what was printed."""
    assert fence.text.startswith("$ "), f"{fence.page}:{fence.line} shows no command"
    parts = ("\n" + fence.text).split("\n$ ")[1:]
    split = (part.partition("\n") for part in parts)
    return [(shlex.split(command), shown.rstrip("\n")) for command, _, shown in split]


# What is another on another day, machine or release: times, sizes, hashes, versions, paths.
VARIES = (
    (r"[━─]+", "─"),  # and with their widths those of tables
    (r" +", " "),
    (r"\S*site-packages/[^\s:]*", "PATH"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE"),
    (r"\b[0-9a-f]{12}…", "HASH"),
    (r"\d+\.\d[\w.]*(?:[+-]\w+)?|\d+e-\d+", "#"),
    (r" on (?!ReferenceEngine)[^,\n]*(?=, (?:image:|DATE))", " on CPU"),
    (r"\d+(?= calls of| │ # │$)", "#"),
    # The slowest layers, which are others each time.
    (r"node_\w+(?= │)|(?<=│ )\w+ float32 [\dx]+(?= │ │)", "LAYER"),
    (r"(?<=│ LAYER │ # │ #% │ )[\d#]+ │ [\d#]+(?= │$)", "# │ #"),  # 2.00 is written as 2
)


def settled(text: str) -> str:
    """Return what a command printed without what varies."""
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.rstrip("\n").splitlines())


def commands_of(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the line and the words of each command ``trtfast`` that a page shows."""
    for fence in fences(page):
        for number, line in enumerate(fence.text.splitlines(), fence.line + 1):
            if fence.info == "sh" or line.startswith("$ "):
                for command in line.removeprefix("$ ").split("&&"):
                    words = shlex.split(command, comments=True)
                    if words and Path(words[0]).name == "trtfast":
                        yield number, words[1:]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def make_files(folder: Path) -> None:
    """Make a small classifier of images in ONNX and as an engine, and images of all sizes.

    In ``photographs`` are five of scikit-image, in ``photos`` random ones.
    """
    import torch

    torch.manual_seed(0)
    model = classifier()
    trtfast.export(model, torch.randn(1, 3, 224, 224), folder / "model.onnx", input_names=["image"])
    spec = trtfast.Preprocess()
    trtfast.build(folder / "model.onnx", preprocess=spec, classes=class_names())
    header_of_others(folder / "model.engine", folder / "ultralytics.engine")
    (folder / "photographs").mkdir()
    for name in ("astronaut", "cat", "coffee", "hubble_deep_field", "rocket"):
        image = getattr(skimage.data, name)()
        assert cv2.imwrite(str(folder / "photographs" / f"{name}.png"), image[..., ::-1])
    (folder / "photos").mkdir()
    for index, name in enumerate("abcd"):
        photograph = random_photo(200 + 40 * index, 300 - 20 * index, index)
        assert cv2.imwrite(str(folder / "photos" / f"{name}.jpg"), photograph)
        shutil.copy(folder / "photos" / f"{name}.jpg", folder / f"{name}.jpg")


def header_of_others(plan: Path, path: Path) -> None:
    """Write a plan as Ultralytics does, behind a description."""
    told = {
        "description": "Ultralytics YOLO11n-cls model",
        "task": "classify",
        "batch": 8,
        "imgsz": [224, 224],
        "names": dict(enumerate(class_names())),
    }
    path.write_bytes(plans.of_ultralytics(plan.read_bytes(), told))


def classifier() -> Any:
    """A torch module that tells ten classes of images apart, with random weights."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    ).eval()


def class_names() -> list[str]:
    return [f"class {index}" for index in range(CLASSES)]


def random_photo(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def at_hand() -> dict[str, Any]:
    """Return what a reader has: PyTorch, a model, inputs for it, photographs, names of classes."""
    import torch

    torch.manual_seed(0)
    model = classifier()
    images = np.random.default_rng(0).standard_normal((8, 3, 224, 224), np.float32)
    return {
        "trtfast": trtfast,
        "np": np,
        "torch": torch,
        "model": model,
        "module": model,
        "sample": torch.from_numpy(images[:1]),
        "images": images,
        "samples": images,
        "photos": [random_photo(200 + 40 * index, 300, index) for index in range(4)],
        "names": class_names(),
    }
