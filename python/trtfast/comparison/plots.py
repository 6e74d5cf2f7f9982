"""The plots of a comparison, as SVG."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["plots_of"]

_WORST = 15  # of an engine's layers
_PARTS = ("preprocess", "copy_in", "compute", "copy_out", "postprocess")


def plots_of(found: dict[str, Any]) -> dict[str, str]:
    """Return SVG elements by title."""
    with rc_context({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "trtfast"}):
        return dict(_plots(found["contenders"]))


def _plots(contenders: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    figure, axes = _figure("rows in each call", "milliseconds")
    for each in contenders:
        _line(axes, each, "batch", "median")
    axes.set(xscale="log", yscale="log")
    _plain(axes.yaxis)
    _ticks(axes, contenders)
    _legend(axes)
    yield "Latency over batch size", _svg(figure)

    figure, axes = _figure("milliseconds", "rows in a second")
    for each in contenders:
        times = [at["median"] * 1e3 for at in each["latency"]]
        rates = [at["batch"] / at["median"] for at in each["latency"]]
        axes.plot(times, rates, marker="o", label=each["name"])
    axes.set(xscale="log", yscale="log")
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    _legend(axes)
    yield "Throughput over latency", _svg(figure)

    yield "Error of each output", _errors(contenders)
    for each in contenders:
        if any(split["compute"] is not None for split in each["split"]):
            yield f"Where the time goes: {each['name']}", _parts(each)
    for each in contenders:
        if each["layers"]:
            yield f"The slowest layers: {each['name']}", _layers(each)


def _line(axes: Axes, contender: dict[str, Any], x: str, y: str) -> None:
    found = contender["latency"]
    middle = [at[y] * 1e3 for at in found]
    below = [(at[y] - min(at["low"], at[y])) * 1e3 for at in found]
    above = [(max(at["high"], at[y]) - at[y]) * 1e3 for at in found]
    batches = [at[x] for at in found]
    axes.errorbar(batches, middle, (below, above), marker="o", capsize=3, label=contender["name"])


def _errors(contenders: list[dict[str, Any]]) -> str:
    figure, axes = _figure("largest error, as a share of the largest value", "")
    names, errors = [], []
    for each in reversed(contenders):
        for output in reversed(each["outputs"]):
            names.append(f"{each['name']}: {output['name']}")
            errors.append(output["max_relative"] or 0.0)
    axes.barh(names, errors)
    if any(errors):
        axes.set_xscale("log")
    return _svg(figure, rows=len(names))


def _parts(contender: dict[str, Any]) -> str:
    figure, axes = _figure("milliseconds", "rows in each call")
    names = [str(split["batch"]) for split in contender["split"]]
    left = [0.0] * len(names)
    for part in _PARTS:
        width = [(split[part] or 0.0) * 1e3 for split in contender["split"]]
        if any(width):
            axes.barh(names, width, left=left, label=part.replace("_", " "))
        left = [a + b for a, b in zip(left, width, strict=True)]
    _legend(axes)
    return _svg(figure, rows=len(names) + 4)


def _layers(contender: dict[str, Any]) -> str:
    layers = sorted(contender["layers"], key=lambda layer: layer["milliseconds"])[-_WORST:]
    total = sum(layer["milliseconds"] for layer in contender["layers"])
    figure, axes = _figure(f"milliseconds, of {total:.3g} of all layers one by one", "")
    names = [_shortened(" ".join(layer["nodes"]) or layer["name"]) for layer in layers]
    # By position, since two layers may be shortened to one name.
    axes.barh(range(len(layers)), [layer["milliseconds"] for layer in layers])
    axes.set_yticks(range(len(layers)), names)
    return _svg(figure, rows=len(layers))


def _shortened(name: str, most: int = 60) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # beside what it tells of


def _plain(axis: Axis) -> None:
    """Have numbers on a logarithmic axis as one writes them."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _ticks(axes: Axes, contenders: list[dict[str, Any]]) -> None:
    batches = sorted({at["batch"] for each in contenders for at in each["latency"]})
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.xaxis.set_minor_locator(NullLocator())


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _svg(figure: Figure, rows: int | None = None) -> str:
    if rows is not None:
        figure.set_figheight(1.0 + 0.3 * rows)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
