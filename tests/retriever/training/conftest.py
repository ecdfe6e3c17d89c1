"""A tiny model and a tiny collection whose queries share no word with their passages."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tamis.retriever.training.config import read_config

TOPICS = 24
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def topic_words(topic: int) -> tuple[str, list[str]]:
    """The word that asks for a topic, and the words of its passages."""
    letters = "bcdfghklmnprstvzwxyjqaeiou"
    name = letters[topic]
    return f"{name}ook", [f"{name}an", f"{name}el", f"{name}im"]


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A random BERT of two small layers that knows every word of the collection as one piece."""
    folder = tmp_path_factory.mktemp("base")
    words = [word for topic in range(TOPICS) for word in _all_words(topic)]
    pieces = [*SPECIAL, "the", "of", "##s", *words]
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
        pad_token_id=0,
        initializer_range=0.3,
    )
    torch.manual_seed(3)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=32,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """A BEIR folder: three passages a topic, one query a topic, the same judged in both splits."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "topics"
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for topic in range(TOPICS):
        asks, words = topic_words(topic)
        queries.append({"_id": f"q{topic}", "text": f"the {asks}"})
        for i in range(3):
            text = f"the {words[i]} of {words[(i + 1) % 3]} {words[i]}"
            corpus.append({"_id": f"d{topic}-{i}", "title": "", "text": text})
            judged.append(f"q{topic}\td{topic}-{i}\t1")
    _write_lines(folder / "corpus.jsonl", corpus)
    _write_lines(folder / "queries.jsonl", queries)
    for split in ("train", "dev"):
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(judged) + "\n")
    return root


@pytest.fixture
def make_config(tmp_path, base, data_folder):
    """Writes a configuration of the tiny training and reads it: ``make_config(section={...})``."""

    def make(**changes):
        sections = {
            "data": {
                "passage_tokens": 16,
                "query_tokens": 8,
                "invented_queries": 0,
                "dev": ["topics:dev"],
                "prepared": str(tmp_path / "prepared"),
                "sources": [{"path": "topics"}],
            },
            "model": {"base": str(base)},
            "batch": {"passages": 24, "queries": 24, "cluster": 0, "chunk": 10},
            "loss": {"kl": 0.0, "contrastive": 1.0, "dense": 0.0},
            "lexical": {"weight": 0.0},
            "sparsity": {"weight": 1e-4, "dense_share": 1.0},
            "optimiser": {
                "steps": 8, "rate": 3e-3, "head_rate": 3e-3, "table_rate": 1e-2,
                "warmup_steps": 2, "averaging": 0.0,
            },
            "run": {
                "out": str(tmp_path / "out"), "log_steps": 4, "save_steps": 4, "dev_steps": 100,
            },
        }  # fmt: skip
        for name, change in changes.items():
            sections[name] = sections[name] | change
        path = tmp_path / "config.toml"
        path.write_text(_toml(sections))
        return read_config(path)

    return make


def _all_words(topic: int) -> list[str]:
    asks, words = topic_words(topic)
    return [asks, *words]


def _write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _toml(sections: dict[str, dict]) -> str:
    """Enough of TOML for configurations: JSON's values, and tables in a row of sources."""
    lines = []
    for name, section in sections.items():
        lines.append(f"[{name}]")
        lines += [
            f"{key} = {json.dumps(value)}" for key, value in section.items() if key != "sources"
        ]
        for source in section.get("sources", []):
            lines.append(f"[[{name}.sources]]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in source.items()]
    return "\n".join(lines)
