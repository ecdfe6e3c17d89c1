"""Reads every on-disk model format as a document and a query side. Runs no model, needs no torch.

Formats: Hugging Face masked and causal language models with the LM head inside; PEFT adapters for
them; sentence-transformers SparseEncoder folders of both generations, with or without a Router;
OpenSearch document models; bge-m3's token weights after conversion to safetensors; and
`encoder.json`, which adds to a plain Hugging Face folder what its own files cannot say.

Pickles are never read and remote code is never run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.head_kinds import HeadKind, head_of_files
from tamis.retriever.models.location import find_folder, read_json, read_optional_json

SETTINGS_FILE = "encoder.json"
QUERY_WEIGHT_FILES = ("query_weights.safetensors", "idf.json", "query_token_weights.txt")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
UNSTATED_MAX_LENGTH = 512
SIDE_SETTINGS = (
    "max_length",
    "double_log",
    "prompt",
    "top_n",
    "bidirectional",
    "logit_scale",
    "linear_head",
    "echo",
)


class Architecture(StrEnum):
    """What kind of model gives the head its hidden states."""

    MASKED = "masked language model"
    CAUSAL = "causal language model"
    HEADLESS = "token weights"  # a backbone without a vocabulary head, as of bge-m3


@dataclass(frozen=True, slots=True)
class NeuralSide:
    """A model that turns texts into vectors.

    Attributes:
        folder: config.json, safetensors and tokenizer.
        architecture: of the model in ``folder``.
        vocab_size: rows of its vocabulary head.
        max_length: texts are cut after this many tokens.
        adapter: folder of a PEFT adapter to merge in.
        head: makes weights of terms of hidden states.
        double_log: log1p(log1p(relu(x))) in place of log1p(relu(x)).
        prompt: put before every text.
        top_n: only the heaviest terms of a text are kept.
        bidirectional: a causal model in which every token sees every other.
        logit_scale: above zero; logits are multiplied by it before the activation.
        linear_head: of BERT; the head's transform is a matrix and a norm, without its activation.
        echo: the model reads every text twice, and the second reading gives the weights.
    """

    folder: Path
    architecture: Architecture
    vocab_size: int
    max_length: int
    adapter: Path | None = None
    head: HeadKind = HeadKind.MAX
    double_log: bool = False
    prompt: str = ""
    top_n: int | None = None
    bidirectional: bool = False
    logit_scale: float = 1.0
    linear_head: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class TableSide:
    """A query side without a model: the tokenizer of ``folder`` and the weights of a file."""

    folder: Path
    weights: Path


def read_sides(folder: Path) -> tuple[NeuralSide, NeuralSide | TableSide]:
    """The document and the query side of a model folder."""
    if (folder / "modules.json").is_file() and not _is_token_weights(folder):
        return _sentence_transformers(folder)
    settings = own_settings(folder)
    document = _own_side(folder, settings)
    table = next((folder / name for name in QUERY_WEIGHT_FILES if (folder / name).is_file()), None)
    if table is not None:
        return document, TableSide(folder, table)
    query = folder / "query"  # of naver's trainer, and of ours
    if (query / "config.json").is_file() or (query / "adapter_config.json").is_file():
        return document, _own_side(query, own_settings(query) or settings)
    return document, document


# ---- plain Hugging Face folders and adapters ----------------------------------------------------


def _language_model(folder: Path, architecture: Architecture | None = None) -> NeuralSide:
    """A folder with config.json and safetensors, or with a PEFT adapter for one."""
    adapter = None
    if (folder / "adapter_config.json").is_file():
        adapter, folder = folder, _base_of_adapter(folder)
    config = read_json(folder / "config.json")
    _check_safetensors(folder)
    return NeuralSide(
        folder=folder,
        architecture=architecture or _architecture(folder, config),
        vocab_size=int(config.get("vocab_size") or config["text_config"]["vocab_size"]),
        max_length=_max_length(folder, config),
        adapter=adapter,
        head=head_of_files(folder) or HeadKind.MAX,
    )


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


def _base_of_adapter(folder: Path) -> Path:
    """The base model's folder: as named, or of that name beside or inside the adapter's folder."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise _not_safetensors(folder, "adapter_model.bin", "adapter_model.safetensors")
    name = str(read_json(folder / "adapter_config.json").get("base_model_name_or_path", ""))
    nearby = (folder / name, folder.parent / name, folder / "base")
    found = next((path for path in nearby if (path / "config.json").is_file()), None)
    try:
        return found or find_folder(name)
    except InputError as error:
        raise FormatError(
            f"{folder}/adapter_config.json: expected its base model {name!r} to be reachable, "
            f"found it nowhere; copy it to {folder / 'base'}, or correct base_model_name_or_path"
        ) from error


def _check_safetensors(folder: Path) -> None:
    if next(folder.glob("*.safetensors"), None) is None:
        raise _not_safetensors(folder, "pytorch_model.bin", "model.safetensors")


def _not_safetensors(folder: Path, pickle_name: str, name: str) -> FormatError:
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


def _is_token_weights(folder: Path) -> bool:
    if (folder / "sparse_linear.safetensors").is_file():
        return True
    if (folder / "sparse_linear.pt").is_file():
        raise _not_safetensors(folder, "sparse_linear.pt", "sparse_linear.safetensors")
    return False


def _max_length(folder: Path, config: dict[str, Any]) -> int:
    """Stated length, at most what the positions allow; decoders rarely mean their whole context."""
    stated = read_optional_json(folder / "sentence_bert_config.json").get("max_seq_length")
    stated = stated or read_optional_json(folder / "tokenizer_config.json").get("model_max_length")
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= int(config.get("pad_token_id", 1)) + 1  # their positions start after the pad
    limits = [int(n) for n in (stated, positions) if n and 0 < n < 10**6]
    if not limits or ("ForCausalLM" in str(config.get("architectures")) and len(limits) < 2):
        limits.append(UNSTATED_MAX_LENGTH)
    return min(limits)


# ---- settings of our own ------------------------------------------------------------------------


def own_settings(folder: Path) -> dict[str, Any]:
    """Read `encoder.json`, empty where there is none.

    It holds any of SIDE_SETTINGS, as `NeuralSide` explains them, and name, licence and pooling.
    """
    return read_optional_json(folder / SETTINGS_FILE)


def _own_side(folder: Path, settings: dict[str, Any]) -> NeuralSide:
    kind = Architecture.HEADLESS if _is_token_weights(folder) else None
    return _with_settings(_language_model(folder, kind), settings)


def _with_settings(side: NeuralSide, settings: dict[str, Any]) -> NeuralSide:
    unknown = set(settings) - {*SIDE_SETTINGS, "name", "licence", "pooling"}
    if unknown:
        raise FormatError(
            f"{side.folder / SETTINGS_FILE}: expected settings among {SIDE_SETTINGS}, name, "
            f"licence and pooling, found {sorted(unknown)}; remove them or update tamis"
        )
    known = {name: value for name, value in settings.items() if name in SIDE_SETTINGS}
    return replace(_pooled(side, settings), **known)


def _pooled(side: NeuralSide, settings: dict[str, Any], key: str = "pooling") -> NeuralSide:
    """A side whose settings say how its head pools; one with a head of its own has one way."""
    poolings = [kind for kind in HeadKind if not kind.has_weights]
    pooling = settings.get(key, HeadKind.MAX)
    if pooling not in poolings:
        raise FormatError(
            f"{side.folder}: expected pooling 'max' or 'sum', found {pooling!r}; "
            "use a model of one of these"
        )
    return side if side.head.has_weights else replace(side, head=HeadKind(pooling))


# ---- sentence-transformers ----------------------------------------------------------------------


def _sentence_transformers(folder: Path) -> tuple[NeuralSide, NeuralSide | TableSide]:
    """A SparseEncoder folder: one sequence of modules, or a Router with one for each side."""
    modules = [
        (_class_of(module["type"]), folder / module["path"])
        for module in read_json(folder / "modules.json")
    ]
    if modules[0][0] == "Router":
        routes = _routes(modules[0][1])
        document, query = (_side_of(folder, routes[name]) for name in ("document", "query"))
    else:
        document = query = _side_of(folder, modules)
    if not isinstance(document, NeuralSide):
        raise FormatError(
            f"{folder}: expected a language model on the document side, found a weight table; "
            "use the lexical channel (--encoder bm25) for documents without a model"
        )
    settings = read_optional_json(folder / "config_sentence_transformers.json")
    prompts, top_n = settings.get("prompts") or {}, settings.get("max_active_dims")
    usual = prompts.get(settings.get("default_prompt_name"), "")
    document = replace(document, prompt=prompts.get("document") or usual, top_n=top_n)
    if isinstance(query, NeuralSide):
        return document, replace(query, prompt=prompts.get("query") or usual, top_n=top_n)
    if prompts.get("query") or usual:
        raise FormatError(
            f"{folder}: expected no prompt before queries that are looked up in a table, found "
            f"{prompts.get('query') or usual!r}; remove it from config_sentence_transformers.json"
        )
    return document, query


def _routes(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    config = read_optional_json(folder / "router_config.json") or read_json(folder / "config.json")
    types = {name: _class_of(dotted) for name, dotted in config["types"].items()}
    routes = {
        route: [(types[name], folder / name) for name in names]
        for route, names in config["structure"].items()
    }
    if not {"document", "query"} <= set(routes):
        raise FormatError(
            f"{folder}: expected a Router with routes 'query' and 'document', found "
            f"{sorted(routes)}; name the routes so"
        )
    return routes


def _side_of(folder: Path, modules: list[tuple[str, Path]]) -> NeuralSide | TableSide:
    classes = tuple(name for name, _ in modules)
    if classes in (("SparseStaticEmbedding",), ("IDF",)):
        return _static_embedding(folder, modules[0][1])
    if len(classes) != 2 or classes[1] != "SpladePooling" or "Transformer" not in classes[0]:
        raise FormatError(
            f"{folder}: expected a sparse encoder (Transformer, SpladePooling), found modules "
            f"{', '.join(classes)}; dense models and sparse autoencoders are not read"
        )
    pooling = read_json(modules[1][1] / "config.json")
    side = _pooled(_language_model(modules[0][1]), pooling, "pooling_strategy")
    return replace(side, double_log=pooling.get("activation_function", "relu") == "log1p_relu")


def _static_embedding(root: Path, folder: Path) -> TableSide:
    stated = read_optional_json(folder / "config.json").get("path")
    candidates = [folder / "model.safetensors", *(at / "idf.json" for at in (folder, root))]
    if stated:  # as written by the author, so only its last part can be trusted to exist here
        candidates = [folder / Path(stated).name, root / Path(stated).name, *candidates]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise _not_safetensors(folder, "pytorch_model.bin", "model.safetensors")
    return TableSide(folder if _has_tokenizer(folder) else root, found)


def _class_of(dotted: str) -> str:
    """`sentence_transformers.sparse_encoder.models.MLMTransformer` and its newer spellings."""
    return dotted.rsplit(".", 1)[-1]


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TOKENIZER_FILES)
