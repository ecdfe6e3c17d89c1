"""Every key of every file that describes a model: read, without effect, bound or unknown.

Nothing that a model's folder states is passed over: a key that stands in none of these lists is
refused by name, or told where files of the field hold too many of them to be known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tamis.index.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ModelWarning(UserWarning):
    """Something about a model's folder that its user should know, though it can be used."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The keys of one file.

    Attributes:
        read: decide what a model computes, and are honoured.
        without_effect: decide nothing that is computed here, with the reason.
        bound: may only have these values; None is always one.
        told: unknown keys are told (ModelWarning); else they are refused.
    """

    read: frozenset[str]
    without_effect: Mapping[str, str]
    bound: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    told: bool = False

    def check(self, found: Mapping[str, Any], path: Path) -> None:
        """Refuse what cannot be honoured; a key without a value states nothing.

        Raises:
            FormatError: a key is unknown, or has a value that is not one of its own.
        """
        for key, value in found.items():
            if key in self.read or key in self.without_effect or value in NOTHING:
                continue
            if key not in self.bound:
                self._tell(key, path)
            elif value not in self.bound[key]:
                raise FormatError(
                    f"{path}: expected {key} of {_listed(self.bound[key])}, found {value!r}, which "
                    "is not computed here; use a model without it"
                )

    def _tell(self, key: str, path: Path) -> None:
        said = f"{path}: expected settings that are known here, found {key!r}"
        if not self.told:
            raise FormatError(f"{said}; remove it if it changes no vector, or update tamis")
        warnings.warn(f"{said}, which is not read", ModelWarning, stacklevel=2)


NOTHING: tuple[Any, ...] = (None, "", [], {})


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(map(repr, values)) or "no value"


ABOUT = "tells of the model or of what made it"
MEMORY = "changes how a batch is run, not what comes out"
PADDING = "no text sees the padding of another"
TRAINING = "matters in training alone"
DECODING = "matters when ids are turned into text"

SPARSE_ENCODER = Inventory(  # config_sentence_transformers.json
    read=frozenset(("prompts", "default_prompt_name", "max_active_dims")),
    without_effect={"__version__": ABOUT, "requirements": ABOUT},
    bound={"model_type": ("SparseEncoder",), "similarity_fn_name": ("dot",), "truncate_dim": ()},
)
MODULES = Inventory(  # rows of modules.json
    read=frozenset(("path", "type")),
    without_effect={"idx": ABOUT, "name": ABOUT, "kwargs": "names what a call may pass on"},
)
TRANSFORMER = Inventory(  # sentence_bert_config.json and its older names
    read=frozenset(
        (
            *("max_seq_length", "do_lower_case", "query_length", "document_length"),
            *("processing_kwargs", "processor_kwargs", "tokenizer_args"),
        )
    ),
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
    read=frozenset(),
    without_effect={},
    bound={
        "transformer_task": ("fill-mask",),
        "modality_config": ({"text": {"method": "forward", "method_output_name": "logits"}},),
        "module_output_name": ("token_embeddings",),
    },
)
MODEL_ARGUMENTS = Inventory(  # of a transformer's model
    read=frozenset(),
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
    read=frozenset(("model_max_length",)),
    without_effect={
        "padding_side": PADDING,
        "use_fast": ABOUT,
        "trust_remote_code": "no code of a model is run",
    },
)
TEXT_ARGUMENTS = Inventory(  # of each call of a tokenizer
    read=frozenset(("max_length",)),
    without_effect={
        "padding": PADDING,
        "padding_side": PADDING,
        "pad_to_multiple_of": PADDING,
        "logits_to_keep": "is for models of texts' last tokens",
    },
    bound={"truncation": (True, "longest_first"), "add_special_tokens": (True,)},
)
PROCESSING = Inventory(  # processing_kwargs of a transformer
    read=frozenset(("text", "common")),
    without_effect=dict.fromkeys(("audio", "image", "video"), "is for other inputs than texts"),
    bound={"chat_template": ()},
)
SPLADE_POOLING = Inventory(
    read=frozenset(("pooling_strategy", "activation_function")),
    without_effect={
        "embedding_dimension": "is the number of rows of the head",
        "word_embedding_dimension": "is the number of rows of the head",
        "chunk_size": MEMORY,
    },
)
ROUTER = Inventory(
    read=frozenset(("types", "structure")),
    without_effect={"parameters": "is checked apart"},
)
ROUTER_PARAMETERS = Inventory(
    read=frozenset(),
    without_effect={
        "default_route": "texts are always queries or documents here",
        "allow_empty_key": "texts are always queries or documents here",
    },
    bound={"route_mappings": ()},
)
STATIC_EMBEDDING = Inventory(
    read=frozenset(("path",)),
    without_effect={"frozen": TRAINING},
)
TOKENIZER_CONFIG = Inventory(
    read=frozenset(
        (
            *("model_max_length", "truncation_side", "do_lower_case", "strip_accents"),
            *("tokenize_chinese_chars", "add_prefix_space", "tokenizer_class", "bos_token"),
            *("eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
            *("additional_special_tokens", "extra_special_tokens"),
        )
    ),
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
    told=True,
)
