"""``compare`` on the CPU: a module in PyTorch beside engines of ONNX Runtime."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import trtfast
from trtfast import CompareReport, InputError, ReferenceEngine, model
from trtfast.bisection import on_cpu
from trtfast.comparison import write_page

LABELS = tuple(f"kind {i}" for i in range(6))


class Net(torch.nn.Module):
    """Classes of small pictures."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.body = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.head = torch.nn.Linear(8, 6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(image).relu().mean((2, 3))) * 20


def pictures(rows: int = 16) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, 3, 8, 8)).astype(np.float32)


def exported(net: Net, folder: Path) -> Path:
    return trtfast.export(net, torch.zeros(1, 3, 8, 8), folder / "net.onnx")


def compared(net: Net, folder: Path, **options: object) -> CompareReport:
    onnx = exported(net, folder)
    with ReferenceEngine(onnx) as engine:
        return trtfast.compare(Net(), engine, pictures(), seconds=0.02, repeats=2, **options)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> CompareReport:
    folder = tmp_path_factory.mktemp("compare")
    onnx = exported(Net(), folder)
    with (
        ReferenceEngine(onnx) as engine,
        on_cpu("fp16")(model.read(onnx)[0], ()) as half,
    ):
        engines = {"fp32": engine, "fp16": half}
        return trtfast.compare(
            Net(), engines, pictures(), batches=(1, 4), classes=LABELS, seconds=0.05, repeats=2
        )


def test_answers_beside_each_other(report: CompareReport) -> None:
    assert [each.name for each in report.contenders] == ["PyTorch fp32", "fp32", "fp16"]
    assert report.passed
    assert report.model == "Net"
    wanted = Net()(torch.from_numpy(pictures())).detach().softmax(-1)
    for each in report.contenders:
        for row, expected in zip(each.predictions, wanted, strict=False):
            best = expected.topk(3)
            assert [guess.index for guess in row] == best.indices.tolist()
            assert [guess.label for guess in row] == [LABELS[i] for i in best.indices]
            np.testing.assert_allclose([g.confidence for g in row], best.values, atol=3e-3)
    assert report["PyTorch fp32"].outputs[0].max_relative < 1e-6
    # Rounded, but not by more than float16 does.
    assert 1e-5 < report["fp16"].outputs[0].max_relative < 1e-2


def test_times(report: CompareReport) -> None:
    for each in report.contenders:
        assert [at.batch for at in each.latency] == [1, 4]
        for at in each.latency:
            assert 0 < at.low <= at.high
            assert at.median <= at.p90 <= at.p99
            assert at.calls >= 9
            assert at.throughput == at.batch / at.median
    assert report.speedup("PyTorch fp32", 4) == 1
    ours, theirs = report["fp32"].at(1).median, report["PyTorch fp32"].at(1).median
    assert report.speedup("fp32", 1) == theirs / ours
    (split, _) = report["PyTorch fp32"].split
    assert split.compute is not None
    assert split.postprocess is not None
    assert split.copy_in is None


def test_other_weights_fail(tmp_path: Path) -> None:
    report = compared(Net(seed=1), tmp_path, batches=(1,))
    assert not report.passed
    (failure, *_) = report["reference fp32"].failures
    assert "the largest error" in failure


def test_batches_that_an_engine_does_not_take(tmp_path: Path) -> None:
    onnx = trtfast.export(Net(), torch.zeros(4, 3, 8, 8), tmp_path / "net.onnx", dynamic={})
    with ReferenceEngine(onnx) as engine:
        with pytest.raises(InputError, match="not all engines take a batch of 2"):
            trtfast.compare(Net(), engine, pictures(), batches=(4, 2))
        report = trtfast.compare(Net(), engine, pictures(), seconds=0.02, repeats=0)
    assert [at.batch for at in report.contenders[0].latency] == [4]


def test_an_onnx_model_is_a_model_too(tmp_path: Path) -> None:
    onnx = exported(Net(), tmp_path)
    with ReferenceEngine(onnx) as engine:
        report = trtfast.compare(onnx, {"own": engine}, pictures(), seconds=0.02, repeats=0)
    assert [each.name for each in report.contenders] == ["ONNX Runtime fp32", "own"]
    assert report["own"].outputs[0].max_absolute == 0


@pytest.mark.parametrize(
    ("engines", "match"),
    [({}, "expected at least one engine"), ("net.engine", "is str; expected an engine")],
)
def test_engines_that_are_none(engines: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        trtfast.compare(Net(), engines, pictures())  # type: ignore[arg-type]


def test_a_module_of_other_outputs(tmp_path: Path) -> None:
    class Two(Net):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            return image, image

    with (
        ReferenceEngine(exported(Net(), tmp_path)) as engine,
        pytest.raises(InputError, match="outputs"),
    ):
        trtfast.compare(Two(), engine, pictures())


def test_module_is_as_it_was(tmp_path: Path) -> None:
    net = Net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with ReferenceEngine(exported(Net(), tmp_path)) as engine:
        trtfast.compare(net, engine, pictures(), seconds=0.01, repeats=0)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


class Page(HTMLParser):
    """What a page holds: its tags, and the words of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.words.append(data.strip())


def test_page_stands_alone(report: CompareReport, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    report.write_html(path)
    page = Page(path)
    assert page.open == []
    assert page.seen.count("svg") == 4  # latency, throughput, errors, PyTorch's split
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"<script|@import|url\((?!#)", path.read_text())
    text = " ".join(page.words)
    for each in report.contenders:
        assert each.name in text
        assert f"{each.at(4).median * 1e3:.3f}" in text
    assert LABELS[report["fp16"].predictions[0][0].index] in text


def test_page_again_from_json(report: CompareReport, tmp_path: Path) -> None:
    report.write_html(tmp_path / "one.html")
    write_page(json.loads(report.to_json()), tmp_path / "other.html")
    assert (tmp_path / "one.html").read_text() == (tmp_path / "other.html").read_text()


def test_names_are_no_markup(report: CompareReport, tmp_path: Path) -> None:
    found = report.to_dict() | {"model": "<b>&"}
    write_page(found, tmp_path / "page.html")
    assert "<b>&" not in (tmp_path / "page.html").read_text()


def test_page_without_what_makes_it(
    report: CompareReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(trtfast.Error, match=r"pip install \"trtfast\[report\]\""):
        report.write_html(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
