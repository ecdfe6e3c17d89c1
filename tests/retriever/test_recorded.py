"""What a collection records of its making."""

import pytest
from letter_encoder import LetterEncoder

from tamis.retriever.recorded import collection_settings


class Computing(LetterEncoder):
    """One that runs a model."""

    arithmetic = "int8 on cpu"


@pytest.mark.parametrize(("kind", "recorded"), [(Computing, "int8 on cpu"), (LetterEncoder, None)])
def test_the_arithmetic_of_vectors_is_recorded_where_it_is_known(kind, recorded):
    settings = collection_settings(kind(), None, "a corpus", {}, None)
    assert settings.encoder.arithmetic == recorded
