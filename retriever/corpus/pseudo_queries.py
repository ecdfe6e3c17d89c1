"""Pseudo-queries: titles and first sentences of documents, to calibrate an index with.

What people will ask is not known when an index is built; what its documents are about is the
nearest thing at hand. The document itself does not count as an answer to its own title.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tamis.index.segment.documents import Documents

MOST_DOCUMENTS = 400
_SENTENCE_WORDS = 24
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def pseudo_queries(documents: Documents) -> tuple[list[str], NDArray[np.int64]]:
    """Texts of documents at equal distances, and the number of the document of each.

    Every second document gives its title, if it has one; the others their first sentence.
    """
    count = min(MOST_DOCUMENTS, len(documents))
    docs = np.linspace(0, len(documents) - 1, count).astype(np.int64)
    texts = [_text(documents[doc], at % 2 == 0) for at, doc in enumerate(docs.tolist())]
    told = np.array([bool(text.strip()) for text in texts], np.bool_)
    return [text for text in texts if text.strip()], docs[told]


def _text(record: Mapping[str, Any], prefer_title: bool) -> str:
    title, text = str(record.get("title") or ""), str(record.get("text") or "")
    if title and prefer_title:
        return title
    sentence = _SENTENCE_END.split(text.strip(), maxsplit=1)[0]
    return " ".join(sentence.split()[:_SENTENCE_WORDS])
