"""An encoder small enough to compute by hand: the letters of a text, and an expansion."""

import string

from tamis.index import SparseVectors
from tamis.retriever.models.description import EncoderDescription
from tamis.retriever.vocabulary import Vocabulary


class Letters:
    """The range of terms whose names are letters."""

    size = 26

    def name(self, term):
        return string.ascii_lowercase[term]

    def term(self, name):
        found = string.ascii_lowercase.find(name) if len(name) == 1 else -1
        return None if found < 0 else found

    def terms_of(self, text):
        return {ord(letter) - 97 for letter in text.lower() if letter in string.ascii_lowercase}


class LetterEncoder:
    """A document weighs each letter by how often it occurs, and expands to "z" with weight 0.5.

    A query weighs each of its letters 2. Keeps the texts it was given in `encoded`.
    """

    location = "letters"
    vocabulary = Vocabulary((Letters(),))

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
            {t: float(text.lower().count(chr(97 + t))) for t in self.vocabulary.terms_of(text)}
            for text in texts
        ]
        return SparseVectors.from_dicts([{**row, 25: row.get(25, 0.5)} for row in rows], 26)

    def count_tokens(self, texts):
        """A letter is a token; two stand around the text."""
        return [2 + sum(letter.isalpha() for letter in text) for text in texts]

    def encode_queries(self, texts):
        return SparseVectors.from_dicts(
            [dict.fromkeys(self.vocabulary.terms_of(text), 2.0) for text in texts], 26
        )

    def query_side(self):
        return self


class StoppedEncoder(LetterEncoder):
    """Encodes so many documents and is stopped then."""

    def __init__(self, documents):
        super().__init__()
        self._documents = documents

    def encode_documents(self, texts, *, progress=None):
        if len(self.encoded) + len(texts) > self._documents:
            raise KeyboardInterrupt
        return super().encode_documents(texts, progress=progress)
