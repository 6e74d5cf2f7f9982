"""``trtfast view``: Netron's page, in a browser that draws it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import netron
import onnx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import tiny
from command import Command, interrupt

# Debian's names, and another; README.md says how to install the first.
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    assert found is not None, f"CI needs one of {', '.join(BROWSERS)}"
    with sync_playwright() as playwright:
        # As root, Chromium has no sandbox; it sees nothing but the page of this machine.
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


def shown(browser: Browser, address: str) -> Page:
    """Open the page as one who has accepted Netron's cookies, with no way to elsewhere."""
    context = browser.new_context()
    context.add_cookies([{"name": "consent", "value": "1", "url": address}])
    context.route(lambda url: not url.startswith(address), lambda route: route.abort())
    page = context.new_page()
    # Half a year after its release, Netron shows nothing but that it is to be updated.
    released = re.search(
        r'name="date" content="([^"]+)"', (Path(netron.__file__).parent / "index.html").read_text()
    )
    if released is not None:
        page.clock.set_fixed_time(f"{released[1].replace(' ', 'T')}Z")
    page.goto(address)
    page.locator(".node-item-type").first.wait_for(timeout=60_000)
    return page


@pytest.mark.parametrize("model", ["dense.onnx", "viewed.engine"])
def test_the_page_shows_the_graph(model: str, browser: Browser, trt: Command, dense: Path) -> None:
    """Of an engine, that of the model beside it from which it was built."""
    if model == "viewed.engine":
        shutil.copy(dense, trt.folder / "viewed.onnx")
        trt("build", "viewed.onnx")
    with trt.begun("view", model, "--no-browser") as view:
        assert view.stdout is not None
        line = view.stdout.readline()
        found = re.fullmatch(r"(\S+\.onnx) at (http://localhost:\d+), until Ctrl-C\n", line)
        assert found is not None, line
        assert found[1] == model.replace(".engine", ".onnx")
        page = shown(browser, found[2])
        drawn = re.findall(r"<text[^>]*>([^<]+)<", page.content())
        wanted = ["x", "MatMul", "Relu", "y"]
        assert [text for text in drawn if text in wanted] == wanted
        page.context.close()
        _, told = interrupt(view, lambda: True)
    assert (view.returncode, told) == (0, "")  # Ctrl-C is how it ends


def test_it_is_served_at_the_port_that_is_asked_for(trt: Command, dense: Path) -> None:
    with trt.begun("view", dense, "--no-browser") as view:
        assert view.stdout is not None
        address = view.stdout.readline().split()[2].rstrip(",")
        with urlopen(f"{address}/data/dense.onnx") as served:
            assert served.read() == dense.read_bytes()
        port = str(urlsplit(address).port)
        message = trt.fails("Error", "view", dense, "--port", port, "--no-browser")
        assert f"nothing can be served at port {port}" in message


def test_what_has_no_graph(trt: Command, dense: Path) -> None:
    assert trt.fails("InputError", "view", "no.onnx") == "there is no file no.onnx"
    trt("build", dense, "-o", "alone.engine")
    message = trt.fails("InputError", "view", "alone.engine")
    assert "not beside it as alone.onnx: give that model" in message
    onnx.save(tiny.dense(seed=1), trt.folder / "alone.onnx")  # another
    assert trt.fails("InputError", "view", "alone.engine") == message


def test_netron_is_not_installed(trt: Command, dense: Path) -> None:
    (trt.folder / "without" / "netron").mkdir(parents=True)
    (trt.folder / "without" / "netron" / "__init__.py").write_text("raise ImportError('none')")
    path = os.pathsep.join([str(trt.folder / "without"), os.environ.get("PYTHONPATH", "")])
    done = trt("view", dense, status=1, PYTHONPATH=path)
    assert done.stderr == (
        'trtfast: Error: the viewer Netron is not installed: pip install "trtfast[view]"\n'
    )
