"""Texts of a training fit into the positions of its models."""

from types import SimpleNamespace

import pytest
from transformers import BertConfig, LlamaConfig, RobertaConfig

from tamis.index.errors import InputError
from tamis.retriever.training.config import DataConfig
from tamis.retriever.training.lengths import check_lengths


def check(config, passages, queries, **more):
    data = DataConfig(sources=(), prepared="", passage_tokens=passages, query_tokens=queries)
    check_lengths(SimpleNamespace(config=config), data, 2, "base", **more)


@pytest.mark.parametrize(
    ("config", "most"),
    [
        (BertConfig(max_position_embeddings=64), 64),
        (RobertaConfig(max_position_embeddings=66, pad_token_id=1), 64),  # numbered from 2
        (LlamaConfig(max_position_embeddings=64), 64),
    ],
)
def test_as_many_tokens_as_positions_fit(config, most):
    check(config, most, most - 2)
    with pytest.raises(
        InputError, match=r"base: expected data\.passage_tokens of at most 64.* 65;"
    ):
        check(config, most + 1, 8)
    with pytest.raises(InputError, match=r"base: expected data\.query_tokens of at most 62.* 63;"):
        check(config, 8, most - 1)


def test_a_model_that_reads_twice_needs_twice_the_positions():
    config = BertConfig(max_position_embeddings=64)
    check(config, 32, 30, readings=2)
    with pytest.raises(InputError, match="at most 32"):
        check(config, 33, 8, readings=2)
