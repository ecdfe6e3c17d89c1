"""PyTorch's own ways to a SPLADE head, which the fused head is measured against.

Each takes hidden [B, S, D], weight [V, D], bias [V] and mask [B, S], and returns [B, V].
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint


def eager(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool as SPLADE's own code does: every logit is made, activated, masked and reduced."""
    logits = torch.nn.functional.linear(hidden, weight, bias.to(hidden.dtype))
    return (torch.log1p(torch.relu(logits)) * mask[:, :, None]).amax(1)


def eager_with_index(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool as sentence-transformers does: `torch.max` over tokens, which also makes an index."""
    logits = torch.nn.functional.linear(hidden, weight, bias.to(hidden.dtype))
    return torch.max(torch.log1p(torch.relu(logits)) * mask[:, :, None], 1).values


def chunked(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool a slice of the vocabulary at a time, made again in the backward."""
    parts = [
        checkpoint(eager, hidden, w, b, mask, use_reentrant=False)
        for w, b in zip(torch.split(weight, 4096), torch.split(bias, 4096), strict=True)
    ]
    return torch.cat(parts, 1)


def hybrid(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Pool slices of 64 MiB of logits: a library product, then a compiled reduction."""
    batch, length, _ = hidden.shape
    columns = max(512, (64 << 20) // (2 * batch * length) // 256 * 256)
    parts = zip(torch.split(weight, columns), torch.split(bias, columns), strict=True)
    return torch.cat([_reduce(hidden @ w.T, b, mask) for w, b in parts], 1)


@torch.compile(dynamic=False)
def _reduce(logits: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (torch.log1p(torch.relu(logits + bias)) * mask[:, :, None]).amax(1)
