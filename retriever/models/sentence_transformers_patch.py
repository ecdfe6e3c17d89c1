"""The fused vocabulary head inside a loaded sentence-transformers `SparseEncoder`.

A SparseEncoder makes logits of [batch, tokens, vocabulary] and pools them. The patch cuts the head
off the language model and lets `tamis.kernels` pool the head's input: same outputs and gradients,
without the logits. Training and encoding go on as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from tamis.index.errors import InputError
from tamis.kernels.head.ops import Activation, splade_head, splade_head_packed, splade_head_sum
from tamis.retriever.models.language_model import cut_head

if TYPE_CHECKING:
    from collections.abc import Iterator


class FusedSpladePooling(nn.Module):
    """Takes the place of `SpladePooling`: term weights from the head's input.

    Attributes:
        decoder: the vocabulary head cut from the language model.
        sums: pool by sum (SPLADE v1) in place of the maximum.
        activation: from logit to weight.
    """

    def __init__(self, decoder: nn.Linear, pooling: Any) -> None:  # noqa: ANN401  no types there
        """Take over the settings of a ``SpladePooling``."""
        super().__init__()
        self.decoder = decoder
        self.replaced = pooling
        self.sums = pooling.pooling_strategy == "sum"
        double = pooling.activation_function == "log1p_relu"
        self.activation = Activation.LOG1P_LOG1P_RELU if double else Activation.LOG1P_RELU

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add ``sentence_embedding`` [B, V] for ``token_embeddings`` [B, S, D] and their mask."""
        hidden = features["token_embeddings"]
        weight, bias = self.decoder.weight, self.decoder.bias
        if "cu_seq_lens_q" in features:  # sequences laid end to end, without padding
            if self.sums:
                raise InputError(
                    "expected padded texts for sum pooling, found unpadded ones; "
                    "load the model without flash attention"
                )
            pooled = splade_head_packed(
                hidden.squeeze(0),
                weight,
                bias,
                offsets=features["cu_seq_lens_q"],
                max_len=int(features["max_length_q"]),
                activation=self.activation,
            )
        else:
            head = splade_head_sum if self.sums else splade_head
            mask = features["attention_mask"].bool()
            pooled = head(hidden, weight, bias, mask=mask, activation=self.activation)
        features["sentence_embedding"] = pooled.to(hidden.dtype)
        return features

    def get_embedding_dimension(self) -> int:
        """Number of terms."""
        return self.decoder.out_features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Save what the replaced module would."""
        self.replaced.save(output_path, *args, **kwargs)


def patch_sparse_encoder(model: Any) -> Any:  # noqa: ANN401  any SparseEncoder
    """Give a loaded `SparseEncoder` the fused head, in place.

    Args:
        model: a ``sentence_transformers.SparseEncoder`` with a language model and SpladePooling, or
            with a Router to such a pair. A patched model computes but is not saved whole: save it
            before patching, or train on and copy the parameters back.

    Returns:
        ``model``.

    Raises:
        InputError: no such pair is in it, or it is patched already.
        FormatError: its language model changes the logits after the head.
    """
    pairs = list(_pairs(model))
    if not pairs:
        raise InputError(
            "expected a SparseEncoder with a language model and SpladePooling, found modules "
            f"{', '.join(type(module).__name__ for module in model.children())}; "
            "a model is patched once, and only SPLADE models have a head to fuse"
        )
    for sequence, place, transformer in pairs:
        decoder = cut_head(transformer.auto_model, "SparseEncoder")
        sequence[place] = FusedSpladePooling(decoder, sequence[place])
    return model


def _pairs(model: Any) -> Iterator[tuple[Any, int, Any]]:  # noqa: ANN401  any SparseEncoder
    """Each sequence of modules, the place of its SpladePooling, and the transformer before it."""
    first = model[0]
    routes = first.sub_modules.values() if hasattr(first, "sub_modules") else [model]
    for sequence in routes:
        for place in range(1, len(sequence)):
            if type(sequence[place]).__name__ == "SpladePooling":
                yield sequence, place, sequence[place - 1]
