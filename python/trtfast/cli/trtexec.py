"""trtexec's names: what they are called here, or what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .sizes import bytes_of

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["translated"]

_RENAMED = {
    "--saveEngine": "--output",
    "--minShapes": "--min-shapes",
    "--optShapes": "--opt-shapes",
    "--maxShapes": "--max-shapes",
    "--memPoolSize": "--workspace",
    "--builderOptimizationLevel": "--optimization-level",
    "--timingCacheFile": "--timing-cache",
    "--warmUp": "--warm-up",
    "--duration": "--seconds",
    "--infStreams": "--threads",
    "--exportOutput": "--save",
    "--noCudaGraph": "--no-cuda-graph",
    "--noSpinWait": "--block",
    "--dumpLayerInfo": "--layers",
}
_SWITCHES = {"--noCudaGraph", "--noSpinWait", "--dumpLayerInfo"}
# With the names that arguments of commands have which take such a file.
_MODELS = {"--onnx": ("onnx", "model"), "--loadEngine": ("engine", "model")}
_VALUED = {*_MODELS, *_RENAMED} - _SWITCHES
# The stronger first: trtexec lets an int8 engine have float16 layers as well, as trtfast does.
_PRECISIONS = {
    "--best": "auto",
    "--fp8": "fp8",
    "--int8": "int8",
    "--fp16": "fp16",
    "--bf16": "bf16",
    "--noTF32": "fp32",
}
_TOGETHER = {"--fp16", "--noTF32"}  # which may stand beside others
_ALREADY = {  # so they change nothing
    *("--useCudaGraph", "--useSpinWait", "--stronglyTyped", "--separateProfileRun"),
    *("--skipInference", "--buildOnly", "--profilingVerbosity", "--includeDataTransfers"),
}
_INSTEAD = {
    "--avgRuns": "medians are of nine parts of the time; leave it out",
    "--calib": "give samples, with --calibration; there is no calibration cache",
    "--dumpOutput": "`trtfast run` prints outputs",
    "--dumpRefit": "there is no refitting",
    "--exportTimes": "--json has the times",
    "--getPlanVersionOnly": "`trtfast inspect` tells it",
    "--idleTime": "calls follow each other at once; leave it out",
    "--inputIOFormats": "inputs and outputs stay as in the ONNX model; in Python, keep_io=False",
    "--int4": "use int8 or fp8, with --calibration",
    "--layerOutputTypes": "name ONNX nodes to stay in float32, with --keep-fp32",
    "--layerPrecisions": "name ONNX nodes to stay in float32, with --keep-fp32",
    "--loadInputs": "give .npy or .npz files, or images, to `trtfast run`",
    "--noDataTransfers": "times are of whole calls; `trtfast compare` tells copies from layers",
    "--outputIOFormats": "inputs and outputs stay as in the ONNX model; in Python, keep_io=False",
    "--precisionConstraints": "name ONNX nodes to stay in float32, with --keep-fp32",
    "--profile": "give --batch once for each batch size; in Python, profiles=",
    "--sleepTime": "calls follow each other at once; leave it out",
    "--useProfile": "the profile follows from the shapes; give --shapes or --batch",
    "--hardwareCompatibilityLevel": "in Python, Engine(path, rebuild=True) fits it to each GPU",
    "--versionCompatible": "in Python, Engine(path, rebuild=True) fits it to each TensorRT",
}
_NOTHING = {
    *("--allowGPUFallback", "--allowWeightStreaming", "--consistency", "--cpuOnly"),
    *("--directIO", "--dynamicPlugins", "--errorOnTimingCacheMiss", "--exposeDMA"),
    *("--markDebug", "--maxAuxStreams", "--noBuilderCache", "--persistentCacheRatio", "--plugins"),
    *("--refit", "--restricted", "--runtimePlatform", "--safe", "--setPluginsToSerialize"),
    *("--sparsity", "--staticPlugins", "--stripWeights", "--stripAllWeights", "--tacticSources"),
    *("--tilingOptimizationLevel", "--useDLACore", "--useManagedMemory", "--useRuntime"),
    *("--weightStreamingBudget",),
}


def translated(
    words: list[str], options: Collection[str], argument: str | None, context: Any
) -> list[str]:
    """Return a command's words with its own names in the place of trtexec's.

    Parameters
    ----------
    words : list of str
        What follows the command's name, as ``--minShapes=x:1x8``.
    options : collection of str
        The command's own, which are left as they are.
    argument : str or None
        The name of its first argument.
    context
        Of the command; its ``fail`` raises what is wrong in one line.
    """
    found: list[str] = []
    asked: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name == "--threads" and not equals and (not rest or rest[0].startswith("-")):
            continue  # trtexec's own has no value, and asks for what is so here
        if name in options or not name.startswith("--"):
            found.append(word)
            continue
        if name in _VALUED and not equals:
            value = rest.pop(0) if rest else ""
        if name in _PRECISIONS:
            asked.append(name)
        elif name in _MODELS:
            found = _model(name, value, options, argument, found, context)
        elif name in _RENAMED:
            own = _RENAMED[name]
            if own not in options:
                context.fail(f"{name} is not for {context.info_name}, but {_others(own, context)}")
            found.append(own)
            if name not in _SWITCHES:
                found.append(_converted(name, value, context))
        elif name in _INSTEAD:
            context.fail(f"{name} has no meaning here: {_INSTEAD[name]}")
        elif name in _NOTHING:
            context.fail(f"{name}: trtfast has nothing for this; leave it out")
        elif name not in _ALREADY:
            found.append(word)
    return found + _precision(asked, options, context)


def _model(
    name: str,
    value: str,
    options: Collection[str],
    argument: str | None,
    found: list[str],
    context: Any,
) -> list[str]:
    """Put the path of a model where the command has it."""
    if name == "--loadEngine" and "--engine" in options:
        return [*found, "--engine", value]
    if argument not in _MODELS[name]:
        what = "an ONNX model" if name == "--onnx" else "an engine"
        context.fail(f"{name} is not for {context.info_name}, which does not take {what}")
    return [value, *found]


def _precision(asked: list[str], options: Collection[str], context: Any) -> list[str]:
    if not asked:
        return []
    if "--precision" not in options:
        context.fail(f"{asked[0]} is not for {context.info_name}, but for build")
    alone = sorted(set(asked) - _TOGETHER) or sorted(set(asked) - {"--noTF32"}) or ["--noTF32"]
    if len(alone) > 1:
        context.fail(f"{' and '.join(alone)} do not go together: choose one, or --best")
    return ["--precision", _PRECISIONS[alone[0]]]


def _converted(name: str, value: str, context: Any) -> str:
    if name == "--warmUp":  # milliseconds
        try:
            return f"{float(value) / 1000:g}"
        except ValueError:
            context.fail(f"--warmUp is {value!r}; expected milliseconds")
    if name == "--memPoolSize":
        pool, _, size = value.partition(":")
        if pool != "workspace" or not size:
            context.fail(f"--memPoolSize is {value!r}; expected workspace:SIZE, the one pool here")
        try:
            return str(bytes_of(size, plain=2**20))
        except ValueError as error:
            context.fail(f"--memPoolSize: {error}")
    return value


def _others(option: str, context: Any) -> str:
    """Name the commands that have an option."""
    commands = context.parent.command.commands.items() if context.parent else ()
    names = [name for name, each in commands if any(option in p.opts for p in each.params)]
    return f"for {' and '.join(names)}"
