"""An encoder small enough to compute by hand: the letters of a text, and an expansion."""

import string

from tamis.index import SparseVectors
from tamis.retriever.models.description import EncoderDescription


class LetterEncoder:
    """A document weighs each letter by how often it occurs, and expands to "z" with weight 0.5.

    A query weighs each of its letters 2. Keeps the texts it was given in `encoded`.
    """

    location = "letters"

    def __init__(self, name="letters"):
        self.encoded = []
        self.description = EncoderDescription(
            name=name,
            fingerprint=f"fingerprint of {name}",
            licence="none",
            vocab_size=26,
            max_length=512,
            query_side="neural",
        )

    def encode_documents(self, texts, *, progress=None):
        self.encoded.extend(texts)
        if progress is not None:
            progress(len(texts))
        rows = [
            {t: float(text.lower().count(chr(97 + t))) for t in self.terms_of(text)}
            for text in texts
        ]
        return SparseVectors.from_dicts([{**row, 25: row.get(25, 0.5)} for row in rows], 26)

    def count_tokens(self, texts):
        """A letter is a token; two stand around the text."""
        return [2 + sum(letter.isalpha() for letter in text) for text in texts]

    def encode_queries(self, texts):
        return SparseVectors.from_dicts(
            [dict.fromkeys(self.terms_of(text), 2.0) for text in texts], 26
        )

    def query_side(self):
        return self

    def term_string(self, term):
        return string.ascii_lowercase[term]

    def term_id(self, text):
        known = len(text) == 1 and text in string.ascii_lowercase
        return string.ascii_lowercase.index(text) if known else None

    def terms_of(self, text):
        return {ord(letter) - 97 for letter in text.lower() if letter in string.ascii_lowercase}
