"""Sparse codes of embeddings: a text's largest latents are its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from safetensors.torch import load_file
from torch import nn

from tamis.index.errors import FormatError, InputError
from tamis.retriever.models.head import Head, sparse_rows
from tamis.retriever.models.weights import check_complete

if TYPE_CHECKING:
    from tamis.kernels.head.ops import SparseRows
    from tamis.retriever.models.packing import PackedTexts
    from tamis.retriever.models.sides import Code, NeuralSide, Pooling

FILE = "model.safetensors"
NAMES = (  # of each weight; a decoder that is the encoder's transpose shares its matrix
    ("encoder.weight", "decoder.linear.weight"),
    ("latent_bias",),
    ("pre_bias",),
)
LEAST_DEVIATION = 1e-5  # as sentence-transformers adds it


class CodeHead(Head):
    """A sparse code of the text's embedding: CSR (arXiv 2503.01776, equations 3 and 4).

    The latents relu(W (x - b) + c) of an embedding x, of which a text keeps the largest.

    Attributes:
        encoder: W, [V, D].
        pre_bias: b, [D].
        latent_bias: c, [V].
    """

    packs = True
    dtype = torch.float32  # which latents are the largest hangs on small differences
    beyond_sentence_transformers = "a sparse code"

    def __init__(
        self,
        code: Code,
        encoder: nn.Parameter,
        latent_bias: nn.Parameter,
        pre_bias: nn.Parameter,
    ) -> None:
        """A head of these weights, for embeddings as ``code`` says."""
        super().__init__()
        self._code = code
        self.encoder = encoder
        self.latent_bias = latent_bias
        self.pre_bias = pre_bias

    @classmethod
    def load(cls, side: NeuralSide, decoder: nn.Linear | None) -> Self:
        """The weights of a SparseAutoEncoder's folder; its decoder is the encoder's transpose."""
        assert side.code is not None
        path = side.code.folder / FILE
        tensors = load_file(str(path))
        parts = [next((tensors[n] for n in names if n in tensors), None) for names in NAMES]
        check_complete(
            [names[0] for names, one in zip(NAMES, parts, strict=True) if one is None], [], path
        )
        head = cls(side.code, *(nn.Parameter(one.float()) for one in parts if one is not None))
        shapes = [tuple(one.shape) for one in (head.encoder, head.latent_bias, head.pre_bias)]
        size, width = side.vocab_size, head.encoder.shape[-1]
        if shapes != [(size, width), (size,), (width,)]:
            raise FormatError(
                f"{path}: expected a matrix of {size} rows, as many as hidden_dim, and biases of "
                f"its rows and columns, found shapes {shapes}; copy the folder anew from its source"
            )
        return head

    @classmethod
    def begin(cls, side: NeuralSide, base: Head) -> Self:
        """Refused: a code is learned over a dense encoder, not over another head.

        Raises:
            InputError: always.
        """
        raise InputError(
            "expected a head over word pieces to train, found 'code'; train a SparseAutoEncoder "
            "with sentence-transformers, whose folders are read"
        )

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return int(self.encoder.shape[1])

    def pool(
        self, hidden: torch.Tensor, mask: torch.Tensor, input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Latents ``[B, V]``."""
        tokens = hidden[mask.bool()]
        return self._latents(tokens, nn.functional.pad(mask.sum(1).cumsum(0), (1, 0)))

    def encode_packed(
        self,
        hidden: torch.Tensor,
        texts: PackedTexts,
        *,
        exclude: torch.Tensor,
        top_n: int | None,
    ) -> SparseRows:
        """Sparse rows, without padding."""
        latents = self._latents(hidden, texts.offsets.long())
        return sparse_rows(latents.masked_fill(exclude, 0.0), top_n)

    def _latents(self, hidden: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """``[B, V]`` of texts whose tokens lie end to end, text b from ``offsets[b]`` on.

        A text without tokens has no latents.
        """
        embeddings = embed(hidden.float(), offsets, self._code.pooling, scaled=self._code.scaled)
        if self._code.standardised:
            embeddings = embeddings - embeddings.mean(1, keepdim=True)
            embeddings = embeddings / (embeddings.std(1, keepdim=True) + LEAST_DEVIATION)
        product = nn.functional.linear(embeddings - self.pre_bias, self.encoder, self.latent_bias)
        blank = offsets[1:] == offsets[:-1]
        return torch.relu(product).masked_fill(blank[:, None], 0.0)


def embed(
    hidden: torch.Tensor, offsets: torch.Tensor, pooling: Pooling, *, scaled: bool
) -> torch.Tensor:
    """The embeddings ``[B, D]`` of texts that lie end to end; of one without tokens, anything.

    Args:
        hidden: [T, D] float32, of the tokens of all texts.
        offsets: [B + 1] int64; text b has the tokens from ``offsets[b]`` to ``offsets[b + 1]``.
        pooling: of a text's tokens.
        scaled: embeddings are scaled to length 1.
    """
    if pooling == "cls":
        embeddings = hidden[offsets[:-1].clamp_max(len(hidden) - 1)]  # the last may have none
    else:
        embeddings = torch.segment_reduce(hidden, "mean", offsets=offsets)
    return nn.functional.normalize(embeddings, dim=1) if scaled else embeddings
