from __future__ import annotations

import re
from pathlib import Path

import pytest

import trtfast
from trtfast import errors

HEADER = Path(__file__).parents[3] / "csrc" / "error.h"


def kinds() -> set[str]:
    """Return the names that C++ exceptions carry across the language boundary."""
    text = HEADER.read_text()
    defined = re.findall(r"^TRTFAST_DEFINE_ERROR\((\w+)\)", text, re.MULTILINE)
    written = re.findall(r'kind\(\) const noexcept override \{ return "(\w+)"', text)
    return {*defined, *written}


@pytest.mark.parametrize("name", errors.__all__)
def test_each_is_an_error_and_exported(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.Error)
    assert kind.__name__ == name
    assert getattr(trtfast, name) is kind
    assert name in trtfast.__all__


def test_none_is_missing_from_all() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(errors.__all__)


@pytest.mark.parametrize(
    ("kind", "base"), [(errors.InputError, ValueError), (errors.OutOfMemoryError, MemoryError)]
)
def test_builtin_handlers_catch_them(kind: type[Exception], base: type[Exception]) -> None:
    with pytest.raises(base, match="too much"):
        raise kind("too much")


def test_what_they_carry_is_unset_at_first() -> None:
    assert errors.BuildError("x").node is None
    memory = errors.OutOfMemoryError("x")
    assert (memory.requested, memory.free) == (None, None)


def test_each_kind_of_the_core_has_its_class() -> None:
    assert len(kinds()) >= 9  # or the header is no longer read right
    assert kinds() <= set(errors.__all__)
