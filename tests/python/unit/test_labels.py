from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trtfast
from trtfast import class_names
from trtfast.errors import InputError

words = st.lists(
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=1, max_size=20
)


@pytest.mark.parametrize(
    "source",
    [
        ["cat", "Würstchen"],
        ("cat", "Würstchen"),
        np.array(["cat", "Würstchen"]),
        {0: "cat", 1: "Würstchen"},
        {1: "Würstchen", 0: "cat"},
        {"1": "Würstchen", "0": "cat"},
    ],
    ids=lambda source: type(source).__name__,
)
def test_names_that_are_at_hand(source: Any) -> None:
    names = class_names(source)
    assert names == ("cat", "Würstchen")
    assert {type(name) for name in names} == {str}


def test_names_of_torchvisions_weights() -> None:
    models = pytest.importorskip("torchvision.models")
    names = class_names(models.ResNet50_Weights.DEFAULT)
    assert len(names) == 1000
    assert names[967] == "espresso"
    assert len(class_names(models.detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT)) == 91
    with pytest.raises(InputError, match=r"Raft.*no names of classes in meta"):
        class_names(models.optical_flow.Raft_Small_Weights.DEFAULT)


@pytest.mark.parametrize(
    "data",
    [
        "cat\nWürstchen\nred fox",
        "cat\nWürstchen\nred fox\n",
        "\ufeffcat\r\nWürstchen\r\nred fox\r\n",
        " cat\nWürstchen \n\tred fox\n\n  \n",
    ],
    ids=["plain", "ends with a newline", "from Windows", "with space"],
)
def test_a_file_of_lines(tmp_path: Path, data: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(data.encode())
    assert class_names(path) == class_names(str(path)) == ("cat", "Würstchen", "red fox")


@given(names=words)
def test_a_file_of_lines_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("\n".join(names) + "\n", "utf-8")
    assert class_names(path) == tuple(names)


@given(names=words, bom=st.booleans())
def test_a_json_file_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], bom: bool
) -> None:
    path = tmp_path_factory.mktemp("names") / "names.JSON"
    for content in (names, dict(reversed(list(enumerate(names))))):
        path.write_text(json.dumps(content), "utf-8-sig" if bom else "utf-8")
        assert class_names(path) == tuple(names)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("names.txt", b"", "names.txt: expected at least one name"),
        ("names.txt", b"\n\n", "names.txt: expected at least one name"),
        ("names.txt", b"cat\n\nfox\n", "line 2 of .*names.txt is empty"),
        ("names.txt", b"\ncat\n", "line 1 of .*names.txt is empty"),
        ("names.txt", b"caf\xe9\n", "read from .*names.txt: .*utf-8"),
        ("names.json", b"cat\n", "read from .*names.json: Expecting value"),
        ("names.json", b"[]", "expected at least one name"),
        ("names.json", b'"cat"', "expected at least one name"),
        ("names.json", b"3", "expected at least one name"),
        ("names.json", b'["cat", 3]', "each a string"),
        ("names.json", b'{"0": ["n01", "cat"]}', "each a string"),
        ("names.json", b"{}", "expected at least one name"),
        ("names.json", b'{"1": "cat"}', "a name for each index from 0 to 0"),
        ("names.json", b'{"0": "cat", "00": "fox"}', "a name for each index from 0 to 1"),
        ("names.json", b'{"cat": 0}', "a name for each index"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        class_names(path)


@pytest.mark.parametrize(
    "source", [[], {}, ["cat", None], [1, 2], 3, None, {0: "cat", 2: "fox"}, {None: "cat"}]
)
def test_what_is_no_name_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match=r"expected (at least one|a) name"):
        class_names(source)


def test_a_file_or_folder_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(InputError, match=f"read from {path}"):
            class_names(path)


def test_top_k_takes_what_class_names_takes(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cat\nfox\n")
    for classes in (path, str(path), {0: "cat", 1: "fox"}, np.array(["cat", "fox"])):
        (best,) = trtfast.top_k(np.array([0.0, 1.0]), k=1, classes=classes)  # type: ignore[arg-type]
        assert best == trtfast.Classification(1, pytest.approx(0.731059), "fox")
