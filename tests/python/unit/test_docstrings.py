"""Each public name is described, and its description is that of its signature.

ruff holds all of ``python/`` to pydocstyle's rules. These are numpydoc's, which know signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from numpydoc.validate import validate

import trtfast

# No or another summary; unknown sections, or in another order; and of parameters: some are missing,
# do not exist, or stand in another order.
RULES = {"GL06", "GL07", "GL08", "SS01", "SS03", "PR01", "PR02", "PR03"}


def public_names() -> Iterator[str]:
    for name in trtfast.__all__:
        value = getattr(trtfast, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield f"trtfast.{name}"
        if inspect.isclass(value) and value.__module__ != "trtfast._core":  # that is C++
            for member, each in vars(value).items():
                is_told = inspect.isroutine(each) or isinstance(each, (property, classmethod))
                if is_told and not member.startswith("_"):
                    yield f"trtfast.{name}.{member}"


@pytest.mark.parametrize("name", list(public_names()))
def test_docstring_is_that_of_the_signature(name: str) -> None:
    found = validate(name)
    wrong = {code: text for code, text in found["errors"] if code in RULES}
    if "Parameters\n-----" not in found["docstring"]:
        wrong.pop("PR01", None)  # where names and types tell all, no section says it again
    assert wrong == {}
