"""Which encoders are a BERT of int8 rows, as the bundled one is stored. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.retriever.models.head_kinds import HeadKind
from tamis.retriever.models.location import read_object
from tamis.retriever.models.quantised_weights import SCALE
from tamis.retriever.models.sides import Architecture
from tamis.retriever.models.tensor_files import tensor_kinds

if TYPE_CHECKING:
    from tamis.retriever.models.sides import NeuralSide

FILE, CONFIG = "model.safetensors", "config.json"
STATED = {  # what config.json may say, where it says anything
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "add_cross_attention": False,
}
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"  # of a model that does not tie it, whatever it says


def runs_in_int8(side: NeuralSide) -> bool:
    """Whether a side is a BERT of int8 rows with SPLADE's head, which `Int8Model` runs."""
    path, config = side.folder / FILE, side.folder / CONFIG
    plain = side.architecture is Architecture.MASKED and side.head is HeadKind.MAX
    if not plain or side.adapter or side.echo or not path.is_file() or not config.is_file():
        return False
    stated, kinds = read_object(config), tensor_kinds(path)
    if any(stated.get(name, value) != value for name, value in STATED.items()):
        return False
    return kinds.get(WORDS) == "I8" and WORDS + SCALE in kinds and DECODER not in kinds
