"""Generate names.inc, the names that the probe needs and that a C++ template cannot find itself.

The names are those of trtfast's own sources: nothing here is a slot, a value or a signature.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

TENSORRT = Path(__file__).resolve().parents[2] / "csrc" / "tensorrt"

# TensorRT's names of what the probe asks for beside the table.
PLAIN = ("ComputeCapability", "NetworkDefinitionCreationFlag")
CAPABILITIES = range(50, 200)


def namespace_of(cls: str) -> str:
    if cls.startswith("IParser"):
        return "nvonnxparser"
    return "nvinfer1::apiv" if cls.startswith("V") else "nvinfer1"


def upper(enumerator: str) -> str:
    """``kLayerNamesOnly`` → ``kLAYER_NAMES_ONLY``."""
    return "k" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enumerator[1:]).upper()


def table_classes() -> list[str]:
    table = (TENSORRT / "abi" / "methods.def").read_text()
    return list(dict.fromkeys(re.findall(r"^TRTFAST_METHOD\((\w+),", table, re.M)))


def interfaces() -> dict[str, list[str]]:
    """The abstract classes of the ABI listing, with every method that a header set knows."""
    listing = json.loads((TENSORRT / "abi" / "tensorrt-abi.json").read_text())
    return {
        cls: sorted({name for table in tables.values() for name in table or () if name.isalnum()})
        for cls, tables in listing.items()
        if cls.startswith("I")
    }


def unprobed_callbacks() -> set[str]:
    """The interfaces that callbacks.cpp implements and that the probe does not compare."""
    kinds = re.findall(r'\{"(I\w+)", \d', (TENSORRT / "callbacks.cpp").read_text())
    probe = Path(__file__).with_name("probe.cpp").read_text()
    return set(kinds) - set(re.findall(r"TRTFAST_CALLBACK\((\w+)", probe))


def lookups(classes: list[str]) -> list[str]:
    """An alias for each class; where the headers lack it, for a stand-in that has no definition.

    Seen from inside TensorRT's namespace, its class hides the stand-in outside.
    """
    lines = [f"class {cls};" for cls in classes]
    lines += ["template <class T> constexpr int EnumMax() { return 0; }"]
    lines += [f"namespace {namespace_of(cls)} {{ using Their{cls} = {cls}; }}" for cls in classes]
    lines += ["namespace nvinfer1 {"]
    lines += ["template <class T> constexpr int their_enum_max() { return EnumMax<T>(); }", "}"]
    lines += ["namespace theirs {"]
    lines += [f"using {cls} = {namespace_of(cls)}::Their{cls};" for cls in classes]
    return [*lines, "}"]


def members(cls: str, names: list[str]) -> list[str]:
    """The class that visits the members of an interface."""
    return [
        f"namespace interface::{cls} {{",
        *(f"struct {name}_ {{ TRTFAST_MEMBER({name}) }};" for name in names),
        "struct Members { template <class Visit> static void each(Visit visit) {",
        *(f'visit("{name}", {name}_{{}});' for name in names),
        "} };",
        "}",
    ]


def enumerators(types: str) -> list[str]:
    lines = []
    for name, body in re.findall(r"enum class (\w+) : [\w:]+ \{(.*?)\};", types, re.S):
        values = re.findall(r"\bk\w+", re.sub(r"//.*", "", body))
        lines += [f"template <> struct Enumerators<{name}> {{"]
        lines += ["template <class T> static void compare([[maybe_unused]] Report& report) {"]
        lines += [
            f"TRTFAST_ENUMERATOR({name}, {value}, {upper(value)}, {upper(value).replace('_', '')})"
            for value in values
        ]
        lines += ["}", "};"]
    return lines


def layouts(types: str) -> list[str]:
    lines = []
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", types, re.S | re.M):
        fields = re.findall(
            r"^ +(?! |static\b)[^()\n]*?(\w+)(?:\[\w+\])?(?: = [^;]*)?;", body, re.M
        )
        ours = ", ".join(f"our_{field}" for field in fields)
        theirs = ", ".join(f"their_{field}" for field in fields)
        lines += [f"template <> struct Layout<{name}> {{"]
        lines += ["template <class T> static void compare(Report& report) {"]
        lines += [f"const Storage<{name}> our; const Storage<T> their;"]
        lines += [f"auto& [{ours}] = our.get(); auto& [{theirs}] = their.get();"]
        lines += [f"TRTFAST_FIELD({name}, {field})" for field in fields]
        lines += ["}", "};"]
    return lines


def names() -> str:
    used, known = table_classes(), interfaces()
    public = [f"I{cls[1:]}" for cls in used if cls.startswith("V")]
    types = (TENSORRT / "types.h").read_text()
    pairs = " ".join(f"X(V{cls[1:]}, {cls})" for cls in public)
    capabilities = " ".join(f"X({value})" for value in CAPABILITIES)
    return "\n".join(
        [
            *lookups(list(dict.fromkeys([*used, *public, *known, *PLAIN]))),
            f"#define TRTFAST_PUBLIC_CLASSES(X) {pairs}",
            f"#define TRTFAST_CAPABILITIES(X) {capabilities}",
            "namespace trtfast::tensorrt::probe {",
            *(line for cls, methods in known.items() for line in members(cls, methods)),
            *enumerators(types),
            *layouts(types),
            "}",
            "",
        ]
    )
