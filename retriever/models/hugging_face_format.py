"""Reads a folder of transformers as one side: config.json and safetensors, or an adapter for them.

Pickles are never read and remote code is never run.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.head_kinds import HeadKind, head_of_files
from tamis.retriever.models.inventory import (
    CONFIG,
    MODEL_ARGUMENTS,
    PROCESSING,
    PROCESSOR_ARGUMENTS,
    TEXT_ARGUMENTS,
    TOKENIZER_CONFIG,
    TRANSFORMER,
)
from tamis.retriever.models.location import find_folder, read_object, read_optional_json
from tamis.retriever.models.sides import Architecture, NeuralSide
from tamis.retriever.models.tensor_files import tensor_names
from tamis.retriever.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
POSITIONS_AFTER_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "roberta-prelayernorm"),
    *("longformer", "xmod", "data2vec-text", "ibert", "luke"),
)
UNSTATED_MAX_LENGTH = 512
OF_VOCABULARY = re.compile(  # names of embeddings and heads that are no differences
    r"^(?!.*(lora_|position)).*(embed|lm_head|wte|vocab_|decoder\.(\w+\.)?weight)"
)
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def language_model(folder: Path, architecture: Architecture | None = None) -> NeuralSide:
    """A folder with config.json and safetensors, or with a PEFT adapter for one.

    The tokenizer and the settings that lie with an adapter are the model's; those of the base count
    where the adapter has none.
    """
    adapter = None
    if (folder / ADAPTER_CONFIG).is_file():
        adapter, folder = folder, _base_of_adapter(folder)
    own = adapter or folder
    config = read_object(folder / "config.json")
    CONFIG.check(config, folder / "config.json")
    _check_safetensors(folder)
    settings = transformer_settings(own) or transformer_settings(folder)
    tokens = own if has_tokenizer(own) else folder
    size = _vocab_size(config, folder)
    return NeuralSide(
        folder=folder,
        architecture=architecture or _architecture(folder, config),
        vocab_size=size if adapter is None else _grown(adapter, size),
        max_length=_max_length(tokens, config, settings.get("max_seq_length")),
        adapter=adapter,
        head=head_of_files(folder) or HeadKind.MAX,
        lower_case=bool(settings.get("do_lower_case")),
        tokenizer_folder=None if tokens == folder else tokens,
    )


def pooled(side: NeuralSide, pooling: object) -> NeuralSide:
    """A side whose settings say how its head pools; one with a head of its own has one way.

    Raises:
        FormatError: there is no such pooling.
    """
    poolings = [kind for kind in HeadKind if not kind.has_weights]
    if pooling not in poolings:
        raise FormatError(
            f"{side.folder}: expected pooling 'max' or 'sum', found {pooling!r}; "
            "use a model of one of these"
        )
    return side if side.head.has_weights else replace(side, head=HeadKind(str(pooling)))


def _vocab_size(config: dict[str, Any], folder: Path) -> int:
    size = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    if not isinstance(size, int):
        raise FormatError(
            f"{folder / 'config.json'}: expected vocab_size, the rows of a vocabulary, found none; "
            "use a language model, or copy the file anew from its source"
        )
    return size


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's files."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def is_token_weights(folder: Path) -> bool:
    """Whether a folder holds a head that weighs the tokens of a text, as bge-m3's does.

    Raises:
        FormatError: it does as a pickle.
    """
    if (folder / "sparse_linear.safetensors").is_file():
        return True
    if (folder / "sparse_linear.pt").is_file():
        raise not_safetensors(folder, "sparse_linear.pt", "sparse_linear.safetensors")
    return False


def not_safetensors(folder: Path, pickle_name: str, name: str) -> FormatError:
    """The refusal of a folder whose weights are a pickle, with the command that converts them."""
    if not (folder / pickle_name).is_file():
        return FormatError(
            f"{folder}: expected {name}, found no weights; copy the model's files into that folder"
        )
    command = (
        f"""cd {folder} && python -c "import torch; from safetensors.torch import save_file; """
        f"""w = torch.load('{pickle_name}', map_location='cpu', weights_only=True); """
        f"""save_file({{k: v.clone().contiguous() for k, v in w.items()}}, '{name}', """
        """metadata={'format': 'pt'})\""""
    )
    return FormatError(
        f"{folder}: expected {name}, found {pickle_name}, a pickle, which is never opened here; "
        f"convert it once, if you trust its source: {command}"
    )


# ---- what sentence-transformers writes beside a model --------------------------------------------


def transformer_settings(folder: Path) -> dict[str, Any]:
    """How sentence-transformers reads texts for a model.

    Raises:
        FormatError: a setting is unknown, or cannot be honoured.
    """
    paths = (folder / name for name in TRANSFORMER_FILES)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    found = dict(read_optional_json(path))
    TRANSFORMER.check(found, path)
    for key in ("model_kwargs", "model_args"):
        MODEL_ARGUMENTS.check(found.get(key) or {}, path)
    for key in ("tokenizer_args", "processor_kwargs"):
        arguments = found.get(key) or {}
        PROCESSOR_ARGUMENTS.check(arguments, path)
        found |= {
            "max_seq_length": arguments.get("model_max_length") or found.get("max_seq_length")
        }
    processing = found.get("processing_kwargs") or {}
    PROCESSING.check(processing, path)
    for part in ("common", "text"):
        arguments = processing.get(part) or {}
        TEXT_ARGUMENTS.check(arguments, path)
        if arguments.get("max_length"):
            lengths = dict.fromkeys(("query_length", "document_length"), arguments["max_length"])
            found |= lengths
    return found


def cut_at(side: NeuralSide, length: int | None) -> NeuralSide:
    """A side whose texts are cut at a length of their own, at most what its positions allow."""
    if length is None:
        return side
    config = read_object(side.folder / "config.json")
    return replace(side, max_length=_max_length(side.tokenizer_place, config, length))


def positions_of(config: Mapping[str, Any]) -> int | None:
    """The most tokens that a model has positions for; None where its configuration says none."""
    positions: int | None = config.get("max_position_embeddings")
    if positions and config.get("model_type") in POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        positions -= (1 if padding is None else padding) + 1
    return positions


def _tokenizer_length(folder: Path) -> float | None:
    path = folder / "tokenizer_config.json"
    length: float | None = read_optional_json(path).get("model_max_length")
    TOKENIZER_CONFIG.check({"model_max_length": length}, path)
    return length


def _max_length(tokens: Path, config: dict[str, Any], stated: int | None) -> int:
    """Stated length, at most what the positions allow; decoders rarely mean their whole context."""
    limits = [
        int(n)
        for n in (stated or _tokenizer_length(tokens), positions_of(config))
        if n and 0 < n < 10**6
    ]
    if not limits or ("ForCausalLM" in str(config.get("architectures")) and len(limits) < 2):
        limits.append(UNSTATED_MAX_LENGTH)
    return min(limits)


# ---- architectures and adapters ------------------------------------------------------------------


def _architecture(folder: Path, config: dict[str, Any]) -> Architecture:
    names = config.get("architectures") or ["nothing"]
    if config.get("auto_map"):
        raise FormatError(
            f"{folder}: expected a model that transformers knows, found one that brings its own "
            f"code ({names[0]}), which is never run; use a model of a built-in architecture"
        )
    if names[0].endswith("ForMaskedLM"):
        return Architecture.MASKED
    if names[0].endswith(("ForCausalLM", "LMHeadModel")):
        return Architecture.CAUSAL
    raise FormatError(
        f"{folder}: expected a masked or causal language model with its head, found {names[0]}; "
        "a dense embedding model has no vocabulary head, choose a sparse one or train one with "
        "`tamis train`"
    )


def _check_safetensors(folder: Path) -> None:
    if next(folder.glob("*.safetensors"), None) is None:
        raise not_safetensors(folder, "pytorch_model.bin", "model.safetensors")


def _base_of_adapter(folder: Path) -> Path:
    """The base model's folder: as named, or of that name beside or inside the adapter's folder."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise not_safetensors(folder, "adapter_model.bin", ADAPTER_WEIGHTS)
    name = str(read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path", ""))
    nearby = (folder / name, folder.parent / name, folder / "base")
    found = next((path for path in nearby if (path / "config.json").is_file()), None)
    try:
        return found or find_folder(name)
    except InputError as error:
        raise FormatError(
            f"{folder}/{ADAPTER_CONFIG}: expected its base model {name!r} to be reachable, "
            f"found it nowhere; copy it to {folder / 'base'}, or correct base_model_name_or_path"
        ) from error


def _grown(adapter: Path, size: int) -> int:
    """Rows of the vocabulary of a model whose adapter may have added tokens.

    Raises:
        FormatError: its tokenizer has tokens that neither base nor adapter has rows for.
    """
    if not has_tokenizer(adapter):
        return size
    tokens = Tokenizer.load(adapter, UNSTATED_MAX_LENGTH).size
    if tokens <= size:
        return size
    rows = [rows for rows in _whole_matrices(adapter / ADAPTER_WEIGHTS) if rows >= tokens]
    if not rows:
        raise FormatError(
            f"{adapter}: expected rows of weights for the {tokens} tokens of its tokenizer, found "
            f"{size} of the base and none in the adapter; save it with save_embedding_layers=True"
        )
    return min(rows)


def _whole_matrices(path: Path) -> list[int]:
    """Rows of the embeddings and heads that an adapter holds whole, not as differences."""
    names = [name for name in tensor_names(path) if OF_VOCABULARY.search(name)]
    with safe_open(str(path), framework="numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in names]
    return [shape[0] for shape in shapes if len(shape) == 2]
