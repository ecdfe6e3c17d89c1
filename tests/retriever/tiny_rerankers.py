"""Tiny random rerankers of every supported architecture."""

from __future__ import annotations

import functools
import json

import torch
import transformers
from tiny_checkpoints import _byte_pairs, _wordpiece

ARCHITECTURES = ("bert", "modernbert", "llama", "mistral", "qwen3")
SIZES = {"prefix": 24, "document": 40, "query": 32}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
CHANGES = {
    "bert": ("Bert", {}),
    "modernbert": ("ModernBert", {"global_attn_every_n_layers": 2, "local_attention": 8}),
    "llama": ("Llama", {"num_key_value_heads": 2}),
    "mistral": ("Mistral", {"num_key_value_heads": 1, "sliding_window": None, "head_dim": 8}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 16}),
}


def write_reranker(folder, architecture, seed=0, **settings):
    """A random model in the Hugging Face format with settings for short blocks."""
    family, changes = CHANGES[architecture]
    backend = _wordpiece() if architecture == "bert" else _byte_pairs()
    names = dict(
        zip(
            ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
            ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
            strict=True,
        )
    )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    fast.save_pretrained(folder)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=backend.get_vocab_size(), **(SMALL | changes)
    )
    torch.manual_seed(seed)
    model = getattr(transformers, f"{family}Model")(config)
    for weight in model.parameters():
        if weight.ndim == 2:  # so that attention is far from even
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    words = {
        "prefix": "[CLS]{query}[SEP]",
        "bare_prefix": "[CLS]",
        "document": "{text}[SEP]",
        "query": "{query}[SEP]",
        "signals": 2,
    }
    stored = {"scoring_layer": 2, "sizes": SIZES, "template": words} | settings
    (folder / "reranker.json").write_text(json.dumps(stored))
    return folder


@functools.cache
def texts():
    return (
        "what lets small grains through",
        (
            "The sieve lets small grains through and keeps the coarse ones.",
            "a",
            "Inverted indexes map each term to the passages that hold it, summaries skip blocks.",
            "naïve café — Übergröße, 東京 and Москва, 1984!",
            "one two three four five six seven eight nine ten eleven twelve " * 3,
        ),
    )
