"""Every key of every file that describes a model: read, without effect, bound or unknown.

Nothing that a model's folder states is passed over: a key that stands in none of these lists is
refused by name, or told where files of the field hold too many of them to be known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from tamis.index.errors import FormatError, TamisWarning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ModelWarning(TamisWarning):
    """Something about a model's folder that its user should know, though it can be used."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The keys of one file.

    Attributes:
        read: decide what a model computes, and are honoured; the type of each value.
        without_effect: decide nothing that is computed here, with the reason.
        bound: may only have these values; None is always one.
        unknown: what becomes of others: refused, told (ModelWarning), or left to transformers.
    """

    read: Mapping[str, Any]
    without_effect: Mapping[str, str]
    bound: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unknown: Literal["refused", "told", "left"] = "refused"

    def check(self, found: Any, path: Path) -> None:  # noqa: ANN401  JSON is anything
        """Refuse what cannot be honoured; a key without a value states nothing.

        Raises:
            FormatError: what was found has no keys, a key is unknown, or a value is not one of its
                key's own.
        """
        if not isinstance(found, dict):
            raise FormatError(
                f"{path}: expected keys and values, found {found!r:.80}; "
                "copy the file anew from its source"
            )
        for key, value in found.items():
            if key in self.without_effect or value in NOTHING:
                continue
            if key in self.read:
                _check_type(key, value, self.read[key], path)
            elif key not in self.bound:
                self._tell(key, path)
            elif value not in self.bound[key]:
                raise FormatError(
                    f"{path}: expected {key} of {_listed(self.bound[key])}, found {value!r:.80}, "
                    "which is not computed here; use a model without it"
                )

    def _tell(self, key: str, path: Path) -> None:
        said = f"{path}: expected settings that are known here, found {key!r}"
        if self.unknown == "left":
            return
        if self.unknown == "refused":
            raise FormatError(f"{said}; remove it if it changes no vector, or update tamis")
        warnings.warn(f"{said}, which is not read", ModelWarning, stacklevel=2)


NOTHING: tuple[Any, ...] = (None, "", [], {})


def _check_type(key: str, value: object, kind: Any, path: Path) -> None:  # noqa: ANN401  a type
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason = str(error).removeprefix("Expected ").replace("`", "")
        raise FormatError(
            f"{path}: expected {key} as {reason}: {value!r:.80}; correct it"
        ) from error


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(map(repr, values)) or "no value"


ABOUT = "tells of the model or of what made it"
MEMORY = "changes how a batch is run, not what comes out"
PADDING = "no text sees the padding of another"
TRAINING = "matters in training alone"
DECODING = "matters when ids are turned into text"

Length = Annotated[int, msgspec.Meta(ge=1)]  # of texts, in tokens
Text = str | None
Settings = dict[str, Any]

CONFIG = Inventory(  # config.json; transformers reads all the rest
    read={
        "architectures": list[str],
        "max_position_embeddings": int,
        "model_type": str,
        "pad_token_id": int,
        "text_config": Settings,
        "vocab_size": Length,
    },
    without_effect={},
    bound={"position_embedding_type": ("absolute", "rope", "rotary"), "quantization_config": ()},
    unknown="left",
)
SPARSE_ENCODER = Inventory(  # config_sentence_transformers.json
    read={"prompts": dict[str, Text], "default_prompt_name": str, "max_active_dims": Length},
    without_effect={"__version__": ABOUT, "requirements": ABOUT},
    bound={"model_type": ("SparseEncoder",), "similarity_fn_name": ("dot",), "truncate_dim": ()},
)
DENSE_ENCODER = Inventory(  # config_sentence_transformers.json of a dense encoder
    read={"prompts": dict[str, Text], "default_prompt_name": str},
    without_effect={"__version__": ABOUT, "requirements": ABOUT},
    bound={
        "model_type": ("SentenceTransformer",),
        "similarity_fn_name": ("cosine", "dot"),
        "truncate_dim": (),
    },
)
POOLING = Inventory(
    read={
        "pooling_mode": str | list[str],
        **dict.fromkeys(("pooling_mode_mean_tokens", "pooling_mode_cls_token"), bool),
    },
    without_effect={
        "embedding_dimension": "is the width of the model",
        "word_embedding_dimension": "is the width of the model",
    },
    bound={
        "include_prompt": (True,),
        **{
            f"pooling_mode_{name}": (False,)
            for name in ("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
        },
    },
)
NORMALIZE = Inventory(
    read={},
    without_effect={},
    bound=dict.fromkeys(("module_input_name", "module_output_name"), ("sentence_embedding",)),
)
AUTOENCODER = Inventory(  # of a SparseAutoEncoder
    read={"hidden_dim": Length, "k": Length, "normalize": bool},
    without_effect={
        "input_dim": "is the width of the model",
        "k_aux": "of training",
        "dead_threshold": "of training",
    },
)
MODULES = Inventory(  # rows of modules.json
    read={"path": str, "type": str},
    without_effect={"idx": ABOUT, "name": ABOUT, "kwargs": "names what a call may pass on"},
)
TRANSFORMER = Inventory(  # sentence_bert_config.json and its older names
    read={
        **dict.fromkeys(("max_seq_length", "query_length", "document_length"), Length),
        "do_lower_case": bool,
        **dict.fromkeys(("processing_kwargs", "processor_kwargs", "tokenizer_args"), Settings),
    },
    without_effect={
        "unpad_inputs": PADDING,
        "transformer_task": "is checked apart",
        "modality_config": "is checked apart",
        "module_output_name": "is checked apart",
        "model_kwargs": "is checked apart",
        "model_args": "is checked apart",
    },
    bound={
        "query_expansion": (),
        "config_kwargs": ({"use_cache": False},),
        "config_args": ({"use_cache": False},),
        "tokenizer_name_or_path": (),
    },
)
FILL_MASK = Inventory(  # of those, what a transformer before SpladePooling may say
    read={},
    without_effect={},
    bound={
        "transformer_task": ("fill-mask",),
        "modality_config": ({"text": {"method": "forward", "method_output_name": "logits"}},),
        "module_output_name": ("token_embeddings",),
    },
)
MODEL_ARGUMENTS = Inventory(  # of a transformer's model
    read={},
    without_effect={
        "attn_implementation": MEMORY,
        "torch_dtype": "the device chooses the arithmetic",
        "dtype": "the device chooses the arithmetic",
        "device_map": MEMORY,
        "low_cpu_mem_usage": MEMORY,
        "use_safetensors": "only safetensors are read",
        "trust_remote_code": "no code of a model is run",
    },
)
PROCESSOR_ARGUMENTS = Inventory(  # of a transformer's tokenizer, in place of its own settings
    read={"model_max_length": Length},
    without_effect={
        "padding_side": PADDING,
        "use_fast": ABOUT,
        "trust_remote_code": "no code of a model is run",
    },
)
TEXT_ARGUMENTS = Inventory(  # of each call of a tokenizer
    read={"max_length": Length},
    without_effect={
        "padding": PADDING,
        "padding_side": PADDING,
        "pad_to_multiple_of": PADDING,
        "logits_to_keep": "is for models of texts' last tokens",
    },
    bound={"truncation": (True, "longest_first"), "add_special_tokens": (True,)},
)
PROCESSING = Inventory(  # processing_kwargs of a transformer
    read={"text": Settings, "common": Settings},
    without_effect=dict.fromkeys(("audio", "image", "video"), "is for other inputs than texts"),
    bound={"chat_template": ()},
)
SPLADE_POOLING = Inventory(
    read={"pooling_strategy": str, "activation_function": str},
    without_effect={
        "embedding_dimension": "is the number of rows of the head",
        "word_embedding_dimension": "is the number of rows of the head",
        "chunk_size": MEMORY,
    },
)
ROUTER = Inventory(
    read={"types": dict[str, str], "structure": dict[str, list[str]]},
    without_effect={"parameters": "is checked apart"},
)
ROUTER_PARAMETERS = Inventory(
    read={},
    without_effect={
        "default_route": "texts are always queries or documents here",
        "allow_empty_key": "texts are always queries or documents here",
    },
    bound={"route_mappings": ()},
)
STATIC_EMBEDDING = Inventory(
    read={"path": str},
    without_effect={"frozen": TRAINING},
)
SPECIAL_TOKENS = tuple(
    f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
)


class Token(msgspec.Struct):
    """How a tokenizer's files write a token with its flags."""

    content: str


TOKENIZER_CONFIG = Inventory(
    read={
        "model_max_length": float,
        "truncation_side": Literal["left", "right"],
        **dict.fromkeys(("do_lower_case", "tokenize_chinese_chars", "add_prefix_space"), bool),
        "strip_accents": bool,
        "tokenizer_class": str,
        **dict.fromkeys(SPECIAL_TOKENS, str | Token),
        "additional_special_tokens": list[str | Token],
        "extra_special_tokens": list[str | Token] | dict[str, str | Token],
    },
    without_effect={
        **dict.fromkeys(("padding_side", "pad_token_type_id", "pad_to_multiple_of"), PADDING),
        **dict.fromkeys(("backend", "is_local", "local_files_only", "name_or_path"), ABOUT),
        **dict.fromkeys(("tokenizer_file", "special_tokens_map_file", "use_fast"), ABOUT),
        **dict.fromkeys(("processor_class", "transformers_version", "legacy"), ABOUT),
        **dict.fromkeys(("_commit_hash", "_name_or_path", "from_slow"), ABOUT),
        **dict.fromkeys(("sp_model_kwargs", "vocab_file", "merges_file", "unk_id"), ABOUT),
        **dict.fromkeys(("clean_up_tokenization_spaces", "errors"), DECODING),
        "spaces_between_special_tokens": DECODING,
        "chat_template": "matters for conversations alone",
        "use_default_system_prompt": "matters for conversations alone",
        "added_tokens_decoder": "stands in tokenizer.json",
        "model_input_names": "a single text has one segment",
        "return_token_type_ids": "a single text has one segment",
        "token_type_ids_pattern": "a single text has one segment",
        "cls_token_type_id": "a single text has one segment",
        **dict.fromkeys(("max_length", "stride", "truncation_strategy"), "is said elsewhere"),
        "truncation": "is said elsewhere",
        "trim_offsets": "matters where tokens are found in their text",
        "never_split": "is of tokenizers without tokenizer.json",
        "do_basic_tokenize": "is of tokenizers without tokenizer.json",
        "add_bos_token": "stands in tokenizer.json",
        "add_eos_token": "stands in tokenizer.json",
        "keep_accents": "stands in tokenizer.json",
        "remove_space": "stands in tokenizer.json",
        "split_by_punct": "stands in tokenizer.json",
        "vocab_type": "stands in tokenizer.json",
        "trust_remote_code": "no code of a model is run",
    },
    bound={"split_special_tokens": (False,), "auto_map": ()},
    unknown="told",
)
