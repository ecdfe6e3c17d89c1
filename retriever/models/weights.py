"""Weights of Hugging Face models, from folders and to them; knows nothing of heads or encoders.

One rule for every model: each weight that it needs is in its folder, or the folder is refused.
transformers would make up the rest at random.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers.utils import logging

from tamis.index.errors import FormatError, TamisError
from tamis.retriever.models.inventory import ModelWarning
from tamis.retriever.models.tensor_files import tensor_kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import nn

POOLER = "pooler."  # of backbones saved without a head; nothing here reads it
OF_OTHER_TASKS = re.compile(r"pooler\.|seq_relationship|position_ids|classifier\.|score\.")
WRAPPERS = ("module.", "_orig_mod.", "model.module.")  # names as parallel or compiled training has


class Loaded(NamedTuple):
    """A model with all its weights, and the names of the weights that it has no place for."""

    model: Any
    left_over: list[str]


def load_model(kind: Any, folder: Path, dtype: torch.dtype, config: Any = None) -> Loaded:  # noqa: ANN401  HF classes
    """The model of a folder, on the processor.

    Args:
        kind: such as `transformers.AutoModel`.
        folder: config.json and safetensors.
        dtype: of its weights.
        config: in place of the folder's own.

    Raises:
        FormatError: a weight is missing or of another shape, or there is no safetensors file.
    """
    check_kind_of_numbers(folder)
    settings = {} if config is None else {"config": config}
    with reading(folder), without_progress_bars(), without_load_report():
        model, report = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused by name below
            **settings,
        )
    _check_shapes(report["mismatched_keys"], folder)
    left_over = sorted(report["unexpected_keys"])
    check_complete(report["missing_keys"], left_over, folder)
    return Loaded(model, left_over)


def _check_shapes(others: Iterable[Any], folder: Path) -> None:
    names = sorted(str(one[0]) for one in others)
    if names:
        raise FormatError(
            f"{folder}: expected weights of the shapes of its config.json, found others for "
            f"{', '.join(names[:3])} ({len(names)} in all); copy both from one source"
        )


@contextlib.contextmanager
def reading(folder: object) -> Iterator[None]:
    """Tell in one line whatever a library raises while it makes a model of a folder's files.

    transformers, peft and torch raise errors of a dozen kinds for a folder that is not as it should
    be; that this process lacks memory is no fault of the folder.

    Raises:
        FormatError: the library raised anything else.
    """
    try:
        yield
    except (TamisError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise FormatError(
            f"{folder}: expected a model whose config.json and safetensors belong together, found "
            f"what cannot be loaded ({type(error).__name__}: {reason}); copy the folder anew from "
            "its source"
        ) from error


def check_kind_of_numbers(folder: Path) -> None:
    """Refuse whole numbers as weights: transformers would take rounded ones for the weights.

    Raises:
        FormatError: there are such in the folder's safetensors.
    """
    for path in sorted(folder.glob("*.safetensors")):
        whole = [name for name, kind in tensor_kinds(path).items() if kind in ("I8", "U8")]
        if whole:
            raise FormatError(
                f"{path}: expected weights of floating point, found 8-bit whole numbers for "
                f"{', '.join(whole[:3])} ({len(whole)} in all); use the model before it was rounded"
            )


def fill(model: nn.Module, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Give a new model its weights; one that the model ties to another may be absent.

    Raises:
        FormatError: a weight is missing or of another shape.
    """
    with reading(folder):
        report = model.load_state_dict(dict(weights), strict=False)
    any_model: Any = model
    tied = getattr(any_model, "all_tied_weights_keys", None) or any_model._tied_weights_keys or ()
    missing = (name for name in report.missing_keys if name not in tied)
    check_complete(missing, report.unexpected_keys, folder)


def check_complete(missing: Iterable[str], left_over: Iterable[str], folder: Path) -> None:
    """Refuse a model that lacks weights; a pooler, which nothing reads, may be absent.

    Args:
        missing: names that a model has and its folder has not.
        left_over: names that its folder has and the model has not.
        folder: of the model.

    Raises:
        FormatError: there are such.
    """
    names = sorted(name for name in missing if not name.startswith(POOLER))
    if not names:
        return
    wrapper = next((one for one in WRAPPERS if any(x.startswith(one) for x in left_over)), None)
    remedy = "use a checkpoint with its head and all its layers"
    if wrapper:
        remedy = f"its names begin with {wrapper!r}: save it again without"
    raise FormatError(
        f"{folder}: expected the weights of the whole model, found none for "
        f"{', '.join(names[:3])} ({len(names)} missing); {remedy}"
    )


def tell_left_over(names: Iterable[str], folder: Path) -> None:
    """Warn (ModelWarning) of weights that a model has no place for, but those of known use."""
    unread = [name for name in names if not OF_OTHER_TASKS.search(name)]
    if unread:
        warnings.warn(
            f"{folder}: expected weights that the model of config.json has places for, found "
            f"{len(unread)} others, which are not used: {', '.join(unread[:3])}",
            ModelWarning,
            stacklevel=2,
        )


def save_model(model: Any, folder: Path) -> None:  # noqa: ANN401  any Hugging Face model
    """Write a model as `load_model` reads it.

    transformers leaves out one of two names of a tensor wherever it could tie them, also in a model
    that does not; there every name is written.
    """
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", True)
    state = None if tied else {name: one.clone() for name, one in model.state_dict().items()}
    with without_progress_bars():
        model.save_pretrained(str(folder), state_dict=state)


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Have transformers draw none while the context is open."""
    bars: Any = logging  # untyped
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


@contextlib.contextmanager
def without_load_report() -> Iterator[None]:
    """Have transformers keep its table of missing weights to itself: here that is an error."""
    reports: Any = logging  # untyped
    level = reports.get_verbosity()
    reports.set_verbosity_error()
    try:
        yield
    finally:
        reports.set_verbosity(level)
