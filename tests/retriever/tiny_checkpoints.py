"""Writes tiny random models in the formats of the field, for tests that compare two readers."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEXTS = [
    "The sieve lets small grains through and keeps the coarse ones.",
    "Inverted indexes map each term to the passages that hold it.",
    "naïve café — Übergröße, 東京 and Москва, 1984!",
    "a",
    "one two three four five six seven eight nine ten eleven twelve " * 9,
    "What is learned sparse retrieval, and why does it scale?",
    "Impact-ordered postings stop early; summaries skip whole blocks of documents.",
]
MAX_LENGTH = 48
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
FAMILY_SIZES = {
    "DistilBert": {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40},
    "ModernBert": SMALL | {"global_attn_every_n_layers": 2, "local_attention": 8},
    **dict.fromkeys(
        ("Mistral", "Qwen3", "Gemma"), SMALL | {"num_key_value_heads": 3, "head_dim": 8}
    ),
}


def write_bert(folder: Path, **changes: Any) -> Path:
    """BERT, its decoder tied to the embeddings."""
    return _write(folder, "Bert", "MaskedLM", _wordpiece(), SMALL | changes)


def write_distilbert(folder: Path) -> Path:
    names = {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40}
    names["max_position_embeddings"] = 64
    return _write(folder, "DistilBert", "MaskedLM", _wordpiece(), names)


def write_roberta(folder: Path) -> Path:
    """RoBERTa, whose positions start after the padding id."""
    return _write(folder, "Roberta", "MaskedLM", _byte_pairs(), SMALL)


def write_xlm_roberta(folder: Path) -> Path:
    return _write(folder, "XLMRoberta", "MaskedLM", _unigram(), SMALL)


def write_modern_bert(folder: Path) -> Path:
    sizes = SMALL | {"global_attn_every_n_layers": 2, "local_attention": 8}
    return _write(folder, "ModernBert", "MaskedLM", _byte_pairs(), sizes)


def write_llama(folder: Path) -> Path:
    """A decoder with a head of its own."""
    return _write(folder, "Llama", "CausalLM", _byte_pairs(), SMALL)


def write_tied_qwen(folder: Path) -> Path:
    """A decoder whose head is its embedding matrix."""
    sizes = SMALL | {"tie_word_embeddings": True, "num_key_value_heads": 1}
    return _write(folder, "Qwen2", "CausalLM", _byte_pairs(), sizes)


def write_gemma2(folder: Path) -> Path:
    """A decoder that caps its logits after the head."""
    sizes = SMALL | {"head_dim": 8, "num_key_value_heads": 1, "final_logit_softcapping": 3.0}
    return _write(folder, "Gemma2", "CausalLM", _byte_pairs(), sizes)


def write_family(folder: Path, family: str, task: str, **changes: Any) -> Path:
    """A model of any family of transformers over word pieces, such as ``"Albert", "MaskedLM"``."""
    return _write(folder, family, task, _wordpiece(), FAMILY_SIZES.get(family, SMALL) | changes)


MASKED = {
    "BERT": write_bert,
    "DistilBERT": write_distilbert,
    "RoBERTa": write_roberta,
    "XLM-R": write_xlm_roberta,
    "ModernBERT": write_modern_bert,
}


def write_sentence_transformers(
    folder: Path, *, old_types: bool, activation: str = "relu", pooling: str = "max"
) -> Path:
    """A symmetric SparseEncoder folder as written before or after version 5.4."""
    write_bert(folder)
    home = "sentence_transformers.sparse_encoder."
    transformer = (
        home + "models.MLMTransformer"
        if old_types
        else ("sentence_transformers.base.modules.transformer.Transformer")
    )
    splade = home + ("models" if old_types else "modules.splade_pooling") + ".SpladePooling"
    _json(folder / "modules.json", _modules(transformer, splade))
    _json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    _transformer_settings(folder, old_types=old_types)
    width = "word_embedding_dimension" if old_types else "embedding_dimension"
    settings = {"pooling_strategy": pooling, "activation_function": activation, width: None}
    _json(folder / "1_SpladePooling" / "config.json", settings)
    return folder


def write_router(folder: Path, *, old_types: bool, weights: Mapping[str, float]) -> Path:
    """An inference-free model: a Router to a language model and to a weight a term."""
    document, pooling = "document_0_MLMTransformer", "document_1_SpladePooling"
    query = "query_0_IDF" if old_types else "query_0_SparseStaticEmbedding"
    write_bert(folder / document)
    _transformer_settings(folder / document, old_types=old_types)
    _json(folder / pooling / "config.json", {"activation_function": "log1p_relu"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / query).mkdir(exist_ok=True)
        shutil.copy(folder / document / name, folder / query / name)
    _json(folder / query / "config.json", {"frozen": True, "path": str(folder / "idf.json")})
    _json(folder / "idf.json", dict(weights))
    home = "sentence_transformers.sparse_encoder." + ("models." if old_types else "modules.")
    router = "models.Router" if old_types else "base.modules.router.Router"
    types = {
        document: home + "MLMTransformer",
        pooling: home + "SpladePooling",
        query: home + "SparseStaticEmbedding",
    }
    structure = {"query": [query], "document": [document, pooling]}
    parameters = {"default_route": "document", "allow_empty_key": True}
    _json(
        folder / "router_config.json",
        {"types": types, "structure": structure, "parameters": parameters},
    )
    _json(folder / "modules.json", _modules("sentence_transformers." + router)[:1])
    _json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    return folder


def idf_of_vocabulary(folder: Path) -> dict[str, float]:
    """A made-up weight for every second piece of a tokenizer, special ones left out."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return {
        piece: 0.5 + (term % 97) / 16
        for piece, term in vocabulary.items()
        if term % 2 == 0 and piece not in SPECIAL
    }


def _write(
    folder: Path, family: str, task: str, tokenizer: Tokenizer, sizes: Mapping[str, Any]
) -> Path:
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        **dict(
            zip(
                ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
                SPECIAL,
                strict=True,
            )
        ),
    )
    config = getattr(transformers, f"{family}Config")(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        **{"initializer_range": 0.4, **sizes},
    )
    torch.manual_seed(7)
    model = getattr(transformers, f"{family}For{task}")(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _wordpiece() -> Tokenizer:
    """Letters and words as they come: the library's trainer breaks ties differently in each run."""
    normalizer, splitter = (
        normalizers.BertNormalizer(lowercase=True),
        pre_tokenizers.BertPreTokenizer(),
    )
    words = [
        word
        for text in TEXTS
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    ]
    letters = sorted(set("".join(words)))
    whole = sorted(set(words) - set(letters), key=lambda word: (-words.count(word), word))
    halves = [half for word in whole if word[3:] for half in (word[:3], f"##{word[3:]}")]
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *whole, *halves]
    vocabulary = {piece: number for number, piece in enumerate([*dict.fromkeys(pieces)][:211])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    return _between_specials(tokenizer)


def _byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer(vocab_size=331, special_tokens=[*SPECIAL]))


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=151, special_tokens=[*SPECIAL], unk_token="[UNK]")
    return _trained(tokenizer, trainer)


def _trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    trainer.show_progress = False
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _between_specials(tokenizer)


def _between_specials(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _modules(*types: str) -> list[dict[str, Any]]:
    paths = ("", *(f"{i}_{dotted.rsplit('.', 1)[-1]}" for i, dotted in enumerate(types[1:], 1)))
    return [
        {"idx": i, "name": str(i), "path": path, "type": dotted}
        for i, (path, dotted) in enumerate(zip(paths, types, strict=True))
    ]


def _transformer_settings(folder: Path, *, old_types: bool) -> None:
    settings: dict[str, Any] = {"max_seq_length": 32, "do_lower_case": False}
    if not old_types:
        settings = {"transformer_task": "fill-mask", "max_seq_length": 32}
    _json(folder / "sentence_bert_config.json", settings)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
