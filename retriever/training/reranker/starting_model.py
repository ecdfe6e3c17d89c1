"""A block reranker that begins as a bi-encoder: its first scores are products of mean vectors.

The layers are those of a BERT bi-encoder with mean pooling. One more layer, of queries and keys
alone, gives the scores; both start as the identity, so that a head's log mass is, for small
products, the log of a document's length plus the mean product of its slice of the vectors. Rows of
the position table are laid so that every block begins where texts began in the bi-encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import BertConfig, BertModel

from tamis.retriever.rerank.loading import strip_scoring_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tamis.retriever.rerank.layout import BlockSizes

FIRST_OF_TEXT = 1  # position of a text's first token in the bi-encoder, after [CLS]


def start_from_bi_encoder(
    weights: Mapping[str, torch.Tensor], config: BertConfig, sizes: BlockSizes, sharpness: float
) -> Any:  # noqa: ANN401  a BertModel
    """The model in float32.

    Args:
        weights: of the bi-encoder, named as in `BertModel`.
        config: of the bi-encoder.
        sizes: where each kind of block stands.
        sharpness: factor of the scoring layer's queries and of its keys.
    """
    layers = config.num_hidden_layers
    changed = config.to_dict() | {
        "architectures": [BertModel.__name__],
        "num_hidden_layers": layers + 1,
        "max_position_embeddings": sizes.positions,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    model = BertModel(BertConfig.from_dict(changed), add_pooling_layer=False)
    strip_scoring_layer(model)
    state = {name: tensor.clone() for name, tensor in weights.items() if name in set(_names(model))}
    state["embeddings.position_embeddings.weight"] = _positions(
        weights["embeddings.position_embeddings.weight"], sizes
    )
    for part in ("query", "key"):
        name = f"encoder.layer.{layers}.attention.self.{part}."
        state[name + "weight"] = torch.eye(config.hidden_size) * sharpness
        state[name + "bias"] = torch.zeros(config.hidden_size)
    model.load_state_dict(state)
    return model


def _names(model: Any) -> list[str]:  # noqa: ANN401  a BertModel
    return list(model.state_dict())


def _positions(table: torch.Tensor, sizes: BlockSizes) -> torch.Tensor:
    """The rows ``[positions, D]`` of prefix, document and query, each from its own start."""
    after = slice(FIRST_OF_TEXT, None)
    parts = [table[: sizes.prefix], table[after][: sizes.document], table[after][: sizes.query]]
    return torch.cat(parts)
