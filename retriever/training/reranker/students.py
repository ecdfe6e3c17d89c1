"""What can be trained to score lists: the block reranker, a decoder, and a teacher of both.

The teacher is a cross-encoder: it reads a query and a document together, and scores each pair
alone. It runs packed, as blocks that read only themselves.

A student is a module with two methods: ``pack`` prepares a batch of lists on the host, and
``scores`` gives the scores of all its documents, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tamis.kernels.blocks.ops import Ranges, block_attention, block_ranges
from tamis.retriever.rerank.attention import use_block_attention
from tamis.retriever.rerank.layout import BlockLayout
from tamis.retriever.training.reranker.objective import next_token_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tamis.retriever.rerank.backbone import Backbone
    from tamis.retriever.rerank.prompt import Conditioning, PromptBuilder
    from tamis.retriever.training.reranker.objective import LearnedReadout


class TokenList(NamedTuple):
    """A query and its documents as ids without special ones, and which document is labelled."""

    query: Sequence[int]
    documents: Sequence[Sequence[int]]
    labelled: int | None = None


class BlockStudent(nn.Module):
    """The block reranker with learned head weights."""

    def __init__(self, backbone: Backbone, prompts: PromptBuilder, readout: LearnedReadout) -> None:
        """Join its parts."""
        super().__init__()
        self.backbone, self.prompts, self.readout = backbone, prompts, readout

    def pack(
        self, lists: Sequence[TokenList], conditioning: Conditioning
    ) -> tuple[BlockLayout, Conditioning]:
        """The layout of a batch."""
        build = self.prompts.build_from_ids
        blocks = [build(one.query, one.documents, conditioning) for one in lists]
        return BlockLayout.pack(blocks, self.prompts.sizes), conditioning

    def scores(self, packed: tuple[BlockLayout, Conditioning]) -> torch.Tensor:
        """The scores ``[documents]`` of a batch."""
        layout, conditioning = packed
        mass = self.backbone(layout)
        spans = torch.from_numpy(layout.segments).to(mass.device)
        signals, lengths = spans[:, 1] - spans[:, 0], spans[:, 3] - spans[:, 2]
        found: torch.Tensor = self.readout(mass, signals, lengths, conditioning)
        return found


class DecoderStudent(nn.Module):
    """A decoder trained on its shares of attention, and on saying which document it found.

    Documents carry no numbers, so the answer is how the labelled one begins (Gupta et al., 2025,
    section 3.3, has it say numbers). It stands after the signal tokens, which do not read it.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        prompts: PromptBuilder,
        *,
        temperature: float = 0.05,
        said: int = 8,
    ) -> None:
        """Join its parts.

        Args:
            backbone: over a decoder with all its layers.
            head: from its last hidden states to logits over the vocabulary.
            prompts: ids to blocks.
            temperature: divides the shares; 0.05 as published.
            said: tokens of an answer.
        """
        super().__init__()
        self.backbone, self.head, self.prompts = backbone, head, prompts
        self._temperature, self._said = temperature, said

    def pack(self, lists: Sequence[TokenList], conditioning: Conditioning) -> BlockLayout:
        """The layout of a batch, with answers where a document is labelled."""
        blocks = []
        for one in lists:
            answer = () if one.labelled is None else one.documents[one.labelled][: self._said]
            build = self.prompts.build_from_ids
            blocks.append(build(one.query, one.documents, conditioning, answer))
        return BlockLayout.pack(blocks, self.prompts.sizes)

    def scores(self, packed: BlockLayout) -> torch.Tensor:
        """The scores ``[documents]`` of a batch."""
        return self._logits(self.backbone(packed), packed)

    def scores_and_answers(self, packed: BlockLayout) -> tuple[torch.Tensor, torch.Tensor]:
        """The same, and the loss of the answers; all layers run. 0 where nothing is labelled."""
        mass, states = self.backbone.to_the_end(packed)
        scores = self._logits(mass, packed)
        if (packed.answers[:, 0] == packed.answers[:, 1]).all():
            return scores, states.sum() * 0
        return scores, next_token_loss(states, packed, self.head)

    def _logits(self, mass: torch.Tensor, packed: BlockLayout) -> torch.Tensor:
        counts, signals = np.diff(packed.documents), np.diff(packed.signals)[:, 0]
        parts: Sequence[torch.Tensor] = mass.split(counts.tolist())  # type: ignore[no-untyped-call]
        shares = [
            part[:, :count].softmax(0).mean((1, 2))
            for part, count in zip(parts, signals.tolist(), strict=True)
        ]
        return torch.cat(shares) / self._temperature


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Token ids of texts, packed.

    Attributes:
        ids: ``[tokens]`` int64.
        positions: ``[tokens]`` int64, from 0 in each text.
        ranges: every text reads itself.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    ranges: Ranges

    @staticmethod
    def pack(rows: Sequence[Sequence[int]]) -> PackedRows:
        """Lay texts of at least one token end to end."""
        lengths = np.array([len(row) for row in rows], np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        whole = np.array([0, len(rows)], np.int32)
        if len(rows) == 1:  # a list has two blocks at least
            own = np.array([[0, 0, 0, 0, 0, 0]], np.int32)
            own[:, [1, 5]] = bounds[-1]
            ranges = Ranges(
                own, np.zeros((1, 2), np.int32), int(bounds[-1]), int(bounds[-1]), False
            )
        else:
            ranges = block_ranges(bounds, whole, causal=False).within(None)
        at = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        ids = np.concatenate([np.asarray(row, np.int64) for row in rows])
        return PackedRows(torch.from_numpy(ids), torch.from_numpy(at.astype(np.int64)), ranges)

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """What `attention.attend` calls in each layer."""
        return block_attention(q, k, v, self.ranges, scale)

    @property
    def starts(self) -> torch.Tensor:
        """``[texts]`` int64, first token of each."""
        return torch.from_numpy(self.ranges.rows[:, 0].astype(np.int64))


class PackedModel(nn.Module):
    """An encoder that runs texts packed."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401  a Hugging Face encoder
        """Have the model read blocks."""
        super().__init__()
        self.model = model
        use_block_attention(model)

    def hidden(self, texts: PackedRows) -> torch.Tensor:
        """The last hidden states ``[tokens, D]``."""
        device = self.model.device
        output = self.model(
            input_ids=texts.ids[None].to(device),
            position_ids=texts.positions[None].to(device),
            blocks=texts,
        )
        states: torch.Tensor = output.last_hidden_state[0]
        return states

    def means(self, texts: PackedRows) -> torch.Tensor:
        """The unit vectors ``[texts, D]`` float32 of the mean of each text's states."""
        hidden = self.hidden(texts).float()
        rows = texts.ranges.rows
        lengths = torch.from_numpy(rows[:, 1] - rows[:, 0]).to(hidden.device).long()
        owner = torch.repeat_interleave(torch.arange(len(rows), device=hidden.device), lengths)
        sums = hidden.new_zeros(len(rows), hidden.shape[1]).index_add(0, owner, hidden)
        return nn.functional.normalize(sums, dim=1)


class CrossStudent(PackedModel):
    """[CLS] query [SEP] document [SEP], scored by a linear layer on the first token."""

    def __init__(self, model: Any, around: tuple[int, int], most: tuple[int, int]) -> None:  # noqa: ANN401
        """Add the scoring layer.

        Args:
            model: a BERT.
            around: the ids of [CLS] and [SEP].
            most: tokens of a query and of a document.
        """
        super().__init__(model)
        self.score = nn.Linear(model.config.hidden_size, 1)
        nn.init.zeros_(self.score.weight)  # nothing random: equal seeds give equal weights
        nn.init.zeros_(self.score.bias)
        self._around, self._most = around, most

    def pack(self, lists: Sequence[TokenList], conditioning: Conditioning) -> PackedRows:
        """One text a pair; ``conditioning`` has no meaning here."""
        first, between = self._around
        rows = [
            [first, *one.query[: self._most[0]], between, *document[: self._most[1]], between]
            for one in lists
            for document in one.documents
        ]
        return PackedRows.pack(rows)

    def scores(self, packed: PackedRows) -> torch.Tensor:
        """The scores ``[documents]`` of a batch."""
        hidden = self.hidden(packed)
        found: torch.Tensor = self.score(hidden[packed.starts.to(hidden.device)])[:, 0].float()
        return found
