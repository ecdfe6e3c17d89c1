"""What `tokenizer_config.json` says beside `tokenizer.json`. Knows JSON alone.

transformers makes a tokenizer of both files: some keys of the first change what the second says. So
does this module: it gives the sections of ``tokenizer.json`` as they become.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from tamis.index.errors import FormatError
from tamis.retriever.models.inventory import SPECIAL_TOKENS, TOKENIZER_CONFIG, Token
from tamis.retriever.models.location import read_optional_json

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

FILE, CONFIG_FILE, NAMES_FILE = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
PLAIN = ("PreTrainedTokenizer", "TokenizersBackend")  # classes that take the file as it is
LOWERING = ("AlbertTokenizer", "DebertaV2Tokenizer", "FNetTokenizer", "RemBertTokenizer")
FURTHER = ("additional_special_tokens", "extra_special_tokens")
NORMALIZER_FLAGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


class _TokenizerFile(msgspec.Struct):
    """The parts of a tokenizer.json that are looked into here."""

    model: Json
    added_tokens: list[Token] | None = None
    normalizer: Json | None = None
    pre_tokenizer: Json | None = None
    truncation: Json | None = None


def read_tokenizer(folder: Path) -> Json:
    """What a folder's tokenizer.json holds.

    Raises:
        FormatError: the file is no JSON.
    """
    path = folder / FILE
    try:
        stored = orjson.loads(path.read_bytes())
        msgspec.convert(stored, _TokenizerFile)
        return dict(stored)
    except (OSError, ValueError) as error:  # no file, no JSON, or another form
        raise FormatError(
            f"{path}: expected a tokenizer of the tokenizers library, found none ({error}); "
            "copy the file again from the model's source"
        ) from error


def changed_sections(stored: Json, folder: Path) -> Json:
    """The sections of a tokenizer.json that the files beside it change, as they become.

    Args:
        stored: what `read_tokenizer` gave.
        folder: of both.

    Raises:
        FormatError: a file is no JSON, or asks for what cannot be honoured.
    """
    config = read_optional_json(folder / CONFIG_FILE)
    TOKENIZER_CONFIG.check(config, folder / CONFIG_FILE)
    names = read_optional_json(folder / NAMES_FILE) | config
    made = {
        "truncation": _truncation(stored, config),
        "normalizer": _normalizer(stored, config, folder),
        "pre_tokenizer": _pre_tokenizer(stored, config),
        "added_tokens": _added_tokens(stored, names),
    }
    return {name: section for name, section in made.items() if section != stored.get(name)}


def lower_cased(stored: Json) -> Json:
    """A tokenizer that lower-cases texts before all else."""
    parts = _parts(stored.get("normalizer"), "normalizers")
    if any(part["type"] == "Lowercase" for part in parts):
        return stored
    steps = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *parts]}
    return stored | {"normalizer": steps}


def _truncation(stored: Json, config: Json) -> Json | None:
    """Only its direction matters: how much is cut is said elsewhere."""
    found: Json | None = stored.get("truncation")
    side = str(config.get("truncation_side") or "").capitalize()
    if not side or side == (found or {}).get("direction", "Right"):
        return found
    usual = {"max_length": 512, "strategy": "LongestFirst", "stride": 0}
    return usual | (found or {}) | {"direction": side}


def _normalizer(stored: Json, config: Json, folder: Path) -> Json | None:
    found: Json | None = stored.get("normalizer")
    if _class_of(config) in PLAIN:
        return found
    if found and found["type"] == "BertNormalizer":
        return found | {
            ours: config[key] for key, ours in NORMALIZER_FLAGS.items() if key in config
        }
    lowers = any(part["type"] == "Lowercase" for part in _parts(found, "normalizers"))
    if _class_of(config) in LOWERING and config.get("do_lower_case", lowers) != lowers:
        raise FormatError(
            f"{folder / CONFIG_FILE}: expected do_lower_case as tokenizer.json does, found "
            f"{config['do_lower_case']}; correct one of the two"
        )
    return found


def _pre_tokenizer(stored: Json, config: Json) -> Json | None:
    found: Json | None = stored.get("pre_tokenizer")
    space = config.get("add_prefix_space")
    if space is None or not found or found["type"] != "ByteLevel" or _class_of(config) in PLAIN:
        return found
    return found | {"add_prefix_space": bool(space)}


def _added_tokens(stored: Json, names: Json) -> list[Json]:
    """The tokens that stand for no text, also those that are only named to be such."""
    added: dict[str, Json] = {one["content"]: one for one in stored.get("added_tokens") or ()}
    wanted = [one for one in _named(names) if not added.get(one["content"], {}).get("special")]
    ids = _ids(stored) if wanted else {}
    for one in wanted:
        content = one["content"]
        if content in added:
            added[content] = added[content] | {"special": True}
        elif content in ids:
            flags = {flag: bool(one.get(flag)) for flag in TOKEN_FLAGS}
            added[content] = {"id": ids[content], "content": content, **flags, "special": True}
    return list(added.values())


def _named(names: Json) -> list[Json]:
    """The tokens that a configuration calls special."""
    stated = [names.get(key) for key in SPECIAL_TOKENS]
    for key in FURTHER:
        more = names.get(key) or []
        stated += more.values() if isinstance(more, dict) else more
    named = [one if isinstance(one, dict) else {"content": one} for one in stated]
    return [one for one in named if isinstance(one.get("content"), str)]


def _ids(stored: Json) -> dict[str, int]:
    vocabulary = stored["model"].get("vocab") or {}
    if isinstance(vocabulary, list):  # of a unigram model: pieces and scores, in order
        return {piece[0]: i for i, piece in enumerate(vocabulary)}
    return dict(vocabulary)


def _parts(section: Json | None, name: str) -> list[Json]:
    """A section's steps: of a sequence each, else itself."""
    if not section:
        return []
    return list(section[name]) if section["type"] == "Sequence" else [section]


def _class_of(config: Json) -> str:
    return str(config.get("tokenizer_class", "")).removesuffix("Fast")
