"""Texts laid end to end through a masked language model: nothing is padded.

Hugging Face runs the layers unforked; this module gives it an attention in which every text sees
only itself. On CUDA that is torch's variable-length flash attention, on the CPU one call a text.
Knows nothing of vocabulary heads or sparse vectors.
"""

from __future__ import annotations

import importlib.util
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

ATTENTION = "tamis_packed"
PLAIN_POSITIONS = ("bert", "distilbert")  # they count from 0, full attention in every layer
POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
FLASH_HEAD_STEP = 8  # flash attention wants head widths of this multiple


class PackedTexts(NamedTuple):
    """A batch without padding; sequence b owns tokens ``offsets[b]`` to ``offsets[b + 1]``.

    ids:       [1, R] int64; on the CPU R may be a little more than T, see `_rows`.
    positions: [1, R] int64, of each token in its text, as the model counts them.
    tokens:    T, of all texts together.
    offsets:   [B + 1] int32, to T.
    max_len:   tokens of the longest text.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    tokens: int
    offsets: torch.Tensor
    max_len: int


def pack_texts(
    ids: Sequence[Sequence[int]], first_position: int, device: torch.device
) -> PackedTexts:
    """Lay texts of any lengths, at least one, end to end on a device."""
    lengths = np.fromiter(map(len, ids), np.int32, len(ids))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    total = int(offsets[-1])
    on_cuda = device.type == "cuda"
    rows = total if on_cuda else _rows(total)
    host = torch.full((2, rows), first_position, dtype=torch.int64, pin_memory=on_cuda)
    tokens = host.numpy()
    tokens[0, :total] = np.fromiter(itertools.chain.from_iterable(ids), np.int64, total)
    tokens[1, :total] += np.arange(total) - np.repeat(offsets[:-1], lengths)
    moved = host.to(device, non_blocking=True)
    where = torch.from_numpy(offsets).to(device, non_blocking=True)
    return PackedTexts(moved[:1], moved[1:], total, where, int(lengths.max()))


def _rows(tokens: int) -> int:
    """So many tokens, and up to a thirty-second more: one of 32 numbers in each doubling.

    oneDNN makes code for each shape of a product and keeps it for the next of that shape, up to a
    thousand of them and a gigabyte. Batches rarely have equal numbers of tokens.
    """
    step = 1 << max(0, tokens.bit_length() - 6)
    return -(-tokens // step) * step


def prepare_packing(model: Any) -> int | None:  # noqa: ANN401  any Hugging Face model
    """Give a loaded model the attention of this module, where its texts can be packed.

    Padded batches are attended to as before.

    Returns:
        The position of a text's first token, or None where the model must pad: its kind has other
        attention or positions, or its device has no variable-length attention for it.
    """
    kind = model.config.model_type
    if kind not in PLAIN_POSITIONS + POSITIONS_AFTER_PADDING or getattr(
        model.config, "is_decoder", False
    ):
        return None
    if model.device.type == "cuda" and not _flash_runs(model):
        return None
    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    return int(model.config.pad_token_id) + 1 if kind in POSITIONS_AFTER_PADDING else 0


def run_packed(model: Any, texts: PackedTexts) -> torch.Tensor:  # noqa: ANN401  any HF model
    """The model's output ``[T, D]`` for the tokens of packed texts."""
    output = model(
        input_ids=texts.ids,
        position_ids=texts.positions,
        cu_seq_lens_q=texts.offsets,
        max_length_q=texts.max_len,
    )
    hidden: torch.Tensor = output[0][0, : texts.tokens]
    return hidden


def _flash_runs(model: Any) -> bool:  # noqa: ANN401  any Hugging Face model
    config = model.config
    width = config.hidden_size // config.num_attention_heads
    return (
        model.dtype in (torch.bfloat16, torch.float16)
        and width % FLASH_HEAD_STEP == 0
        and torch.cuda.get_device_capability(model.device) >= (8, 0)
        and importlib.util.find_spec("torch.nn.attention.varlen") is not None
    )


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    **options: Any,  # noqa: ANN401  what transformers passes on
) -> tuple[torch.Tensor, None]:
    """Attention of ``[batch, heads, tokens, width]``; packed where sequence bounds are given."""
    if cu_seq_lens_q is None:
        padded: torch.Tensor
        padded, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return padded, None
    if not query.is_cuda:
        return _attend_in_turn(query, key, value, cu_seq_lens_q.tolist()), None
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [T, heads, width]
    bounds, longest = cu_seq_lens_q, max_length_q
    packed: Any = varlen_attn(q, k, v, bounds, bounds, longest, longest)
    return packed[None], None


def _attend_in_turn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: Sequence[int]
) -> torch.Tensor:
    """One text after the other; ``[1, heads, T, width]`` to ``[1, T, heads, width]``."""
    out = torch.zeros_like(query.transpose(1, 2))  # rows after the last text stay 0
    for start, end in itertools.pairwise(bounds):
        text = slice(start, end)
        one = scaled_dot_product_attention(query[:, :, text], key[:, :, text], value[:, :, text])
        out[:, text] = one.transpose(1, 2)
    return out
