"""PyTorch → ONNX: export a module, prove that its batch is dynamic and its numbers are the same."""

from __future__ import annotations

import inspect
import io
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._exported import check_numbers, check_structure, describe_shapes
from .errors import ExportError, InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import torch
    from onnxscript import ir

    Args: TypeAlias = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]

DynamicAxes: TypeAlias = Mapping[str, Mapping[int, str]]

__all__ = ["export"]

logger = logging.getLogger("trtfast")


def export(
    model: torch.nn.Module,
    args: Args,
    path: str | os.PathLike[str],
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic: DynamicAxes | Literal[False] | None = None,
    opset: int | None = None,
    rtol: float | None = None,
    atol: float = 1e-6,
) -> Path:
    """Export a PyTorch module to an ONNX file that is proven to compute the same.

    The module is exported in evaluation mode, and its training flags are restored. The file
    appears under its name only after the ONNX checker has passed it, its inputs have the names and
    dynamic dimensions asked for, and ONNX Runtime on the CPU gives PyTorch's outputs for ``args``
    and, where axis 0 is dynamic, for a second batch size.

    Parameters
    ----------
    model : torch.nn.Module
        Its outputs are a tensor, or any nesting of tuples, lists and dicts of tensors.
    args : torch.Tensor, sequence of torch.Tensor, or mapping of str to torch.Tensor
        Sample inputs of any shape and dtype, by position or by ``forward``'s parameter names.
    path : path-like
        The ONNX file to write; missing directories are made. Weights beyond ONNX's limit of 2 GB go
        to ``<path>.data`` beside it.
    input_names : sequence of str, optional
        In the order of ``forward``'s parameters, whose names are the default.
    output_names : sequence of str, optional
        By default ``output``, or ``output_0``, ``output_1`` and so on where there are several. A
        value inside the graph that has the name of an input or output gets another one.
    dynamic : mapping, False, or None
        ``None``: axis 0 of every input that has one is a dynamic batch, named ``batch``.
        ``False``: all shapes are those of ``args``.
        A mapping, such as ``{"image": {0: "batch", 2: "height"}}``: just these axes are dynamic.
    opset : int, optional
        The ONNX opset; by default the one that this PyTorch recommends.
    rtol, atol : float
        An output may differ from PyTorch's by ``atol + rtol * max(abs(output))``. By default,
        ``rtol`` is 1e-6 for an output in float64, 1e-4 in float32 (1e-2 for a module on a GPU,
        which may use TF32), 1e-2 in float16, 5e-2 in bfloat16, and 0 in integers and booleans.

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    InputError
        If the model is no module, or the sample inputs, the names or ``dynamic`` do not fit
        ``forward`` or each other.
    ExportError
        If PyTorch cannot export the module, or if what it exported is not the module asked for.

    Notes
    -----
    Where ONNX Runtime is not installed, or has no kernel for an operator, as for most in bfloat16,
    a logged warning says that the numbers were not compared.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise InputError(
            f"model is {model!r}; expected a torch.nn.Module, as torch.load may give it"
        )
    sample = _bind(model, args, input_names)
    axes = _dynamic_axes(sample, dynamic)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    with (
        evaluation_mode(model),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
    ):
        expected = sample.run(model)
        if output_names is None:
            output_names = (
                ["output"] if len(expected) == 1 else [f"output_{i}" for i in range(len(expected))]
            )
        elif len(output_names) != len(expected):
            raise InputError(
                f"output_names has {len(output_names)} names, but the model gives "
                f"{len(expected)} tensors; give one name for each"
            )
        given = Counter([*sample.names, *output_names])
        if twice := [name for name, times in given.items() if times > 1]:
            raise InputError(
                f"more than one input or output is named {', '.join(map(repr, twice))}: give names "
                "that differ, in input_names and output_names"
            )

        draft = Path(folder) / path.name
        _write(model, sample, axes, output_names, opset, draft)
        check_structure(draft, sample.names, axes)
        check_numbers(
            draft, sample.feeds(), dict(zip(output_names, expected, strict=True)), rtol, atol
        )
        second = _second_batch(sample, axes)
        if second is not None:
            try:
                expected = second.run(model)
            except Exception as error:
                raise ExportError(
                    f"the model itself fails on another batch size, {second.shapes()}: {error}. "
                    "Its batch cannot be dynamic: pass dynamic=False, or name the axes that can be"
                ) from error
            check_numbers(
                draft, second.feeds(), dict(zip(output_names, expected, strict=True)), rtol, atol
            )

        # The weights first, so that a reader of the new graph never meets the old weights.
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == draft):
            file.replace(path.parent / file.name)
    logger.debug("exported %s with inputs %s", path, sample.shapes())
    return path


@dataclass(frozen=True)
class _Sample:
    """Sample inputs, flat: one name and one tensor for each ONNX input."""

    names: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]
    keywords: tuple[str, ...]  # the names in forward of the last tensors, which go by keyword

    def positional(self) -> tuple[torch.Tensor, ...]:
        return self.tensors[: len(self.tensors) - len(self.keywords)]

    def by_keyword(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.keywords, self.tensors[len(self.positional()) :], strict=True))

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> _Sample:
        return _Sample(self.names, tuple(tensors), self.keywords)

    def feeds(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.tensors, strict=True))

    def shapes(self) -> str:
        return describe_shapes(self.feeds())

    def run(self, model: torch.nn.Module) -> list[torch.Tensor]:
        import torch
        from torch.utils._pytree import tree_leaves

        # Clones, since a module may work in place on its inputs.
        copy = self.with_tensors([tensor.detach().clone() for tensor in self.tensors])
        with torch.no_grad():
            outputs = tree_leaves(model(*copy.positional(), **copy.by_keyword()))
        return [leaf for leaf in outputs if isinstance(leaf, torch.Tensor)]


def _bind(model: torch.nn.Module, args: Args, input_names: Sequence[str] | None) -> _Sample:
    """Match the arguments with forward's parameters, in the order of its signature."""
    import torch

    positional: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    if isinstance(args, Mapping):
        keywords = dict(args)
    elif isinstance(args, torch.Tensor):
        positional = (args,)
    else:
        positional = tuple(args)
    try:
        bound = inspect.signature(model.forward).bind(*positional, **keywords)
    except TypeError as error:
        raise InputError(f"args do not fit {type(model).__name__}.forward: {error}") from error

    flat: dict[str, Any] = {}
    by_keyword: list[str] = []
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            flat |= {f"{name}_{i}": item for i, item in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            flat |= value
            by_keyword += value
        else:
            flat[name] = value
            if kind is inspect.Parameter.KEYWORD_ONLY:
                by_keyword.append(name)
    for name, value in flat.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"args must hold tensors only, but {name!r} is a {type(value).__name__}; "
                "fix other arguments in a module of your own that wraps this one"
            )
    if input_names is not None and len(input_names) != len(flat):
        raise InputError(
            f"input_names has {len(input_names)} names, but args holds {len(flat)} tensors: "
            f"{', '.join(flat)}"
        )
    return _Sample(tuple(input_names or flat), tuple(flat.values()), tuple(by_keyword))


def _dynamic_axes(
    sample: _Sample, dynamic: DynamicAxes | Literal[False] | None
) -> list[dict[int, str]]:
    """For each input, its dynamic axes and their names."""
    ranks = {name: tensor.ndim for name, tensor in sample.feeds().items()}
    if dynamic is False:
        return [{} for _ in ranks]
    if dynamic is None:
        if len({t.shape[0] for t in sample.tensors if t.ndim > 0}) > 1:
            raise InputError(
                f"the inputs differ in axis 0 ({sample.shapes()}), so it is not one batch; name "
                'the dynamic axes of each input, such as dynamic={"image": {0: "batch"}}, or '
                "pass dynamic=False"
            )
        return [{0: "batch"} if rank > 0 else {} for rank in ranks.values()]
    for name, axes in dynamic.items():
        if name not in ranks:
            raise InputError(
                f"dynamic names {name!r}, which is no input; the inputs are {', '.join(ranks)}"
            )
        for axis in axes:
            if not 0 <= axis < ranks[name]:
                raise InputError(
                    f"dynamic names axis {axis} of {name!r}, which has axes 0 to {ranks[name] - 1}"
                )
    return [dict(dynamic.get(name, {})) for name in ranks]


def _resized(tensor: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """Repeat the tensor's content along an axis, or cut it, to a size."""
    import torch

    index = torch.arange(size, device=tensor.device) % tensor.shape[axis]
    return tensor.index_select(axis, index)


def _traceable(sample: _Sample, axes: list[dict[int, str]]) -> _Sample:
    """Give every dynamic axis a size of at least 2: torch.export takes a 1 for a constant."""
    tensors = []
    for tensor, names in zip(sample.tensors, axes, strict=True):
        for axis in names:
            if tensor.shape[axis] == 1:
                tensor = _resized(tensor, axis, 2)
        tensors.append(tensor)
    return sample.with_tensors(tensors)


def _second_batch(sample: _Sample, axes: list[dict[int, str]]) -> _Sample | None:
    """Return the sample with another size of axis 0, never the size it was traced with, or None."""
    pairs = list(zip(sample.tensors, axes, strict=True))
    if not any(0 in names for _, names in pairs):
        return None
    return sample.with_tensors(
        [
            _resized(tensor, 0, 3 if tensor.shape[0] == 1 else 1) if 0 in names else tensor
            for tensor, names in pairs
        ]
    )


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Have a module and all its parts in evaluation mode, and put them back."""
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn what the exporter prints and warns of into one debug record."""
    onnx_logger = logging.getLogger("torch.onnx")
    level = onnx_logger.level
    text = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(text), redirect_stderr(text):
        warnings.simplefilter("ignore")
        onnx_logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            onnx_logger.setLevel(level)
    if text.getvalue().strip():
        logger.debug("torch.onnx.export printed: %s", text.getvalue())


def _free_names(model: ir.Model) -> None:
    """Rename what is inside the graph and has the name of an input or output, which ONNX forbids.

    PyTorch names inputs and outputs as it is told, whatever else has such a name.
    """
    from onnxscript import ir

    graph = model.graph
    outer = {id(value): value.name for value in chain(graph.inputs, graph.outputs)}
    inner: list[ir.Value] = list(graph.initializers.values())
    for node in ir.traversal.RecursiveGraphIterator(graph):
        inner += node.outputs
        for body in (each.as_graph() for each in node.attributes.values() if _is_graph(each)):
            inner += chain(body.inputs, body.initializers.values())
    used = {*outer.values(), *(value.name for value in inner)}
    for value in inner:
        if id(value) not in outer and value.name in outer.values():
            numbered = (f"{value.name}_{number}" for number in count(1))
            value.name = next(name for name in numbered if name not in used)
            used.add(value.name)


def _is_graph(attribute: ir.Attr) -> bool:
    return attribute.type.name == "GRAPH"


def _write(
    model: torch.nn.Module,
    sample: _Sample,
    axes: list[dict[int, str]],
    output_names: Sequence[str],
    opset: int | None,
    path: Path,
) -> None:
    import torch
    from torch.utils._pytree import tree_map_only

    traced = _traceable(sample, axes)
    # torch.export wants the axes nested just as the arguments are nested in forward's signature.
    bound = inspect.signature(model.forward).bind(*traced.positional(), **traced.by_keyword())
    remaining = iter(axes)
    shapes = tree_map_only(torch.Tensor, lambda _: next(remaining) or None, dict(bound.arguments))
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                traced.positional(),
                kwargs=traced.by_keyword(),
                input_names=list(sample.names),
                output_names=list(output_names),
                opset_version=opset,
                dynamic_shapes=shapes if any(axes) else None,
                dynamo=True,
                verbose=False,
            )
            if program is None:
                raise RuntimeError("torch.onnx.export returned nothing")
            _free_names(program.model)
            program.save(path)
    except Exception as error:
        advice = (
            "If the model fixes an axis that is to be dynamic, pass dynamic=False or name the axes "
            'that can be, such as dynamic={"image": {0: "batch"}}'
            if any(axes)
            else "Control flow that depends on data must be written with torch.cond or torch.where"
        )
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ExportError(
            f"PyTorch cannot export {type(model).__name__} to ONNX with inputs {sample.shapes()}. "
            f"{advice}. {type(cause).__name__}: {cause}"
        ) from error
