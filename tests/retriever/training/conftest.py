"""A tiny model and a tiny collection whose queries share no word with their passages."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tamis.retriever.training.read_config import read_config

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
    pieces, tokenizer = _words_as_pieces()
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
    model = transformers.BertForMaskedLM(config)
    torch.nn.init.constant_(model.cls.predictions.bias, 1.0)  # a term that never fires never learns
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def decoder_base(tmp_path_factory) -> Path:
    """A random decoder over the same words."""
    folder = tmp_path_factory.mktemp("decoder")
    pieces, tokenizer = _words_as_pieces()
    config = transformers.LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.3,
    )
    torch.manual_seed(3)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _words_as_pieces():
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
    return pieces, transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=32,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """Two BEIR folders, each judged the same in both splits.

    ``topics``: three passages a topic, one query a topic, no word in common but the commonest.
    ``places``: a passage answers the query for the word after its "the", not for that after "of".
    """
    root = tmp_path_factory.mktemp("data")
    topics = {f"q{topic}": _topic_passages(topic) for topic in range(TOPICS)}
    places = {f"q{topic}": _place_passages(topic) for topic in range(TOPICS)}
    _write_collection(root / "topics", topics)
    _write_collection(root / "places", places)
    return root


def _topic_passages(topic: int) -> list[str]:
    _, words = topic_words(topic)
    return [f"the {words[i]} of {words[(i + 1) % 3]} {words[i]}" for i in range(3)]


def _place_passages(topic: int) -> list[str]:
    asks = topic_words(topic)[0]
    others = [topic_words((topic + step) % TOPICS)[0] for step in (5, 7, 11)]
    return [f"the {asks} of {other}" for other in others]


def _write_collection(folder: Path, passages: dict[str, list[str]]) -> None:
    (folder / "qrels").mkdir(parents=True)
    corpus, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for topic, (query, texts) in enumerate(passages.items()):
        queries.append({"_id": query, "text": f"the {topic_words(topic)[0]}"})
        for i, text in enumerate(texts):
            corpus.append({"_id": f"d{topic}-{i}", "title": "", "text": text})
            judged.append(f"{query}\td{topic}-{i}\t1")
    _write_lines(folder / "corpus.jsonl", corpus)
    _write_lines(folder / "queries.jsonl", queries)
    for split in ("train", "dev"):
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(judged) + "\n")


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
            "mining": {},
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
