"""How long the texts of a training may be: no longer than its models have positions for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tamis.index.errors import InputError
from tamis.retriever.models.hugging_face_format import positions_of

if TYPE_CHECKING:
    from tamis.retriever.training.config import DataConfig


def check_lengths(
    model: Any,  # noqa: ANN401  any Hugging Face model
    data: DataConfig,
    around: int,
    name: object,
    *,
    readings: int = 1,
) -> None:
    """Refuse texts that are longer than a model can read.

    Args:
        model: reads passages and queries.
        data: says how long they may be.
        around: special tokens around every query.
        name: of the model, for the message.
        readings: how often one after the other it reads a text.

    Raises:
        InputError: ``passage_tokens`` or ``query_tokens`` asks for more positions than it has.
    """
    positions = positions_of(model.config.to_dict())
    if positions is None:
        return
    most = positions // readings
    for setting, tokens, others in (
        ("passage_tokens", data.passage_tokens, 0),
        ("query_tokens", data.query_tokens, around),
    ):
        if tokens + others > most:
            raise InputError(
                f"{name}: expected data.{setting} of at most {most - others}, as many tokens as "
                f"the model has positions for, found {tokens}; lower it or choose another model"
            )
