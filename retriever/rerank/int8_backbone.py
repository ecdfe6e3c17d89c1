"""A BERT of int8 rows as a block reranker on a processor, multiplied as it is stored.

It gives what `Backbone` gives, by `Int8Bert`. Needs no transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.retriever.models.int8_bert import MOST_LANES, attend, rows_for
from tamis.retriever.rerank.attention import Reading
from tamis.retriever.rerank.backbone import BlockModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tamis.kernels.blocks.ops import Ranges
    from tamis.retriever.models.int8_bert import Int8Bert
    from tamis.retriever.rerank.attention import ForwardPass


class Int8Backbone(BlockModel):
    """An `Int8Bert` up to its scoring layer.

    Attributes:
        bert: whose last layer gives the scores.
        reading: how its layers read.
    """

    def __init__(self, bert: Int8Bert, reads_from: int) -> None:
        """Have a BERT read blocks.

        Args:
            bert: see the class.
            reads_from: first layer in which the query reads documents.
        """
        self.bert = bert
        layers = len(bert.layers)
        self.reading = Reading(False, layers - 1, reads_from, (None,) * layers)

    @property
    def lanes(self) -> int:
        """One a thread of torch: between products, much runs in one thread."""
        return min(MOST_LANES, torch.get_num_threads())

    @property
    def device(self) -> torch.device:
        """The processor."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.bert.dtype

    def run_layers(
        self,
        forward_pass: ForwardPass,
        ids: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> None:
        """See `BlockModel`; the last layer raises `ScoresReady`."""
        layout = forward_pass.layout
        chosen = layout.ids if ids is None else ids.numpy()
        places = layout.positions if positions is None else positions.numpy()
        tokens, rows = len(chosen), rows_for(len(chosen))
        states = self.bert.embed(_filled(chosen, rows), _filled(places, rows))
        *below, scoring = self.bert.layers
        for number, layer in enumerate(below):

            def attention(parts: torch.Tensor, number: int = number) -> torch.Tensor:
                q, k, v = parts[:tokens].unbind(1)
                out = torch.zeros((rows, *q.shape[1:]))
                attend_ranges(q, *forward_pass.read(number, q, k, v, 1.0), out)
                return out

            self.bert.run(layer, states, attention)
        q, k, *_ = self.bert.project(scoring, states)[:tokens].unbind(1)
        forward_pass.read(len(below), q, k, k, 1.0)  # its values are never read


def attend_ranges(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ranges: Ranges, out: torch.Tensor
) -> None:
    """Attention of queries [T, heads, width], scaled already, to two ranges of keys each.

    Args:
        q: queries.
        k: [keys, heads, width].
        v: the same.
        ranges: without order or window.
        out: [T or more, heads, width] float32.
    """
    for q0, q1, a0, a1, b0, b1 in ranges.rows.tolist():
        keys, values = k[b0:b1], v[b0:b1]
        if a1 > a0:
            keys, values = torch.cat([k[a0:a1], keys]), torch.cat([v[a0:a1], values])
        heads_first = (part.transpose(0, 1) for part in (q[q0:q1], keys, values, out[q0:q1]))
        attend(*heads_first)


def _filled(numbers: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Numbers, and zeros up to ``rows``: what they compute is never read."""
    return np.pad(numbers, (0, rows - len(numbers)))
