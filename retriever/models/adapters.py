"""Merges PEFT adapters into models: every weight of an adapter is applied, or it is refused."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from tamis.index.errors import FormatError, TamisError
from tamis.retriever.models.hugging_face_format import ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

WRAPPED = "base_model.model."  # begins all names in an adapter's file
COPY = re.compile(r"\.(modules_to_save|original_module)\.")
OWN = re.compile(r"\.(lora_|modules_to_save|trainable_tokens|ia3_|hada_|lokr_|oft_|vera_)")


def with_adapter(model: Any, adapter: Path, rows: int) -> Any:  # noqa: ANN401  any HF model
    """A model with an adapter merged into its weights.

    Args:
        model: the base.
        adapter: folder of the adapter.
        rows: of the vocabulary that the adapter belongs to; the base's is grown to it.

    Raises:
        FormatError: peft is not installed or cannot merge the adapter, or its weights are not
            those that the model has places for.
    """
    try:
        from peft import PeftModel, set_peft_model_state_dict
    except ImportError as error:
        raise FormatError(
            f"{adapter}: expected peft for this adapter, found none; pip install 'tamis[encode]'"
        ) from error
    if rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    prefix = model.base_model_prefix
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is checked below
            weights = _once(load_file(str(adapter / ADAPTER_WEIGHTS)))
            if any("lora_embedding" in name for name in weights):
                _untie(model)
            adapted = PeftModel(model, _config(adapter))
            weights = _fitted(weights, adapted, prefix)
            report = set_peft_model_state_dict(adapted, weights)
            _check_applied(report, adapter)
            return adapted.merge_and_unload()
    except (TamisError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever peft raises
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{adapter}: expected an adapter that merges into the weights of its base, found one "
            f"that does not ({type(error).__name__}: {reason}); merge it where it was trained"
        ) from error


def _config(adapter: Path) -> Any:  # noqa: ANN401  peft has no types
    """The adapter's settings, all of which this version of peft must know."""
    from peft import PeftConfig

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        config = PeftConfig.from_pretrained(str(adapter))
    ignored = [str(one.message) for one in said if "Unexpected keyword" in str(one.message)]
    if ignored:
        raise FormatError(
            f"{adapter}: expected settings that the installed peft knows, found others "
            f"({ignored[0][:200]}); update peft"
        )
    if config.is_prompt_learning:
        raise FormatError(
            f"{adapter}: expected an adapter that merges into the weights of its base, found one "
            f"of kind {config.peft_type.value}, which adds to the input; use another"
        )
    config.inference_mode = True
    return config


def _once(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each weight by one name: peft writes those of a grown vocabulary by three."""
    return {
        name: one
        for name, one in weights.items()
        if not (COPY.search(name) and COPY.sub(".", name) in weights)
    }


def _untie(model: Any) -> None:  # noqa: ANN401  any HF model
    """Give a head a matrix of its own, so that what is merged into the embeddings stays there."""
    head = model.get_output_embeddings()
    if head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())


def _fitted(
    weights: dict[str, torch.Tensor],
    adapted: Any,  # noqa: ANN401  peft has no types
    prefix: str,
) -> dict[str, torch.Tensor]:
    """An adapter's weights by the names of the model with its head.

    One that was trained around a model without a head lacks the prefix of the part below it.
    """
    from peft import get_peft_model_state_dict

    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    inside = f"{WRAPPED}{prefix}."
    ways = (
        weights,
        {name.replace(WRAPPED, inside, 1): one for name, one in weights.items()},
        {name.replace(inside, WRAPPED, 1): one for name, one in weights.items()},
    )
    return max(ways, key=lambda way: len(expected & set(way)))


def _check_applied(report: Any, adapter: Path) -> None:  # noqa: ANN401  peft has no types
    missing = sorted(name for name in report.missing_keys if OWN.search(name))
    if missing:
        raise FormatError(
            f"{adapter}: expected the adapter's weights of all its layers, found none for "
            f"{', '.join(missing[:3])} ({len(missing)} missing); copy the whole adapter"
        )
    extra = sorted(report.unexpected_keys)
    if extra:
        raise FormatError(
            f"{adapter}: expected weights that the base has places for, found "
            f"{', '.join(extra[:3])} ({len(extra)} in all); use the base that it was trained on"
        )
