"""Each collection's published rules of evaluation, as data.

Sources: BEIR (Thakur et al., NeurIPS 2021) and its reference code for own documents, the twelve
parts of CQADupStack and lengths; MS MARCO passage ranking (MRR@10 on dev); NIST's pages of the TREC
Deep Learning tracks (grade 1 of a passage is "related", not relevant, so binary measures count from
grade 2; a document is relevant from grade 1); ANTIQUE (Hashemi et al., ECIR 2020: from grade 3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one collection is evaluated.

    Attributes:
        measures: reported unless others are asked for.
        relevant_from: lowest grade that binary measures (recall, MRR, MAP) count as relevant.
        drops_own_document: the query is itself a document of the corpus and is left out of its
            own ranking.
        parts: sub-collections whose plain mean is the collection's value.
        averaged: counts in a macro average; False for collections that are unit tests.
    """

    measures: tuple[str, ...] = ("nDCG@10", "Recall@100", "MRR@10", "MAP")
    relevant_from: int = 1
    drops_own_document: bool = False
    parts: tuple[str, ...] = ()
    averaged: bool = True


CQADUPSTACK_PARTS = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats",
    "tex", "unix", "webmasters", "wordpress",
)  # fmt: skip

_GRADED = Protocol(("nDCG@10", "MAP", "Recall@100", "Recall@1000"), relevant_from=2)
_MSMARCO = Protocol(("MRR@10", "nDCG@10", "Recall@100", "Recall@1000"))

_PROTOCOLS = {
    "arguana": Protocol(drops_own_document=True),
    "quora": Protocol(drops_own_document=True),
    "cqadupstack": Protocol(drops_own_document=True, parts=CQADUPSTACK_PARTS),
    "msmarco": _MSMARCO,
    "msmarco-passage": _MSMARCO,
    "msmarco-document": replace(_MSMARCO, measures=("MRR@100", *_MSMARCO.measures[1:])),
    "antique": Protocol(relevant_from=3),
    "msmarco-v2-dl21-22-pool": replace(
        _GRADED, measures=("nDCG@10", "Recall@100", "MRR@10", "MAP")
    ),
    "limit-small": Protocol(averaged=False),
}

_TREC_DL = re.compile(r"(trec-)?dl-?((20)?(19|20|21|22|23)|hard)(-passages?|-doc\w*)?")
_DOCUMENTS = re.compile(r"(ms-?marco|dl|trec).*-doc")


def protocol_of(name: str, split: str) -> Protocol:
    """The rules for a collection's split; unknown names get BEIR's general rules.

    Args:
        name: as users type it, a folder's name, or an ``ir_datasets`` id ("beir/arguana",
            "cqadupstack/gis", "msmarco-passage/trec-dl-2019/judged").
        split: "test", "dev", "dl19", ...
    """
    parts = [part.lower().replace("_", "-") for part in (split, *reversed(name.split("/")))]
    for part in parts:
        if part in _PROTOCOLS:
            found = _PROTOCOLS[part]
            is_part = bool(found.parts) and not name.lower().endswith(part)
            return replace(found, parts=()) if is_part else found
        if _TREC_DL.fullmatch(part):
            return replace(_GRADED, relevant_from=1 if any(map(_DOCUMENTS.match, parts)) else 2)
    return Protocol()
